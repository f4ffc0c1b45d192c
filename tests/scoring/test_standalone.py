"""`loragrid score FILE --metrics …`: any file of predictions and references, without a study."""

import json

import pytest
from scipy import stats

from loragrid.cli import main

ROWS = [
    {"id": "a", "prediction": "The cat sat on a mat.", "reference": "The cat sat on the mat."},
    {"id": "b", "prediction": "Hello there, general.", "reference": "Hello there, General Kenobi."},
    {"id": "c", "prediction": "", "reference": "Something was said."},
    {"id": 4, "prediction": "It rains a lot in autumn.", "reference": "In autumn it rains a lot."},
]


@pytest.fixture
def score(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def score(rows, *arguments):
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
        status = main(["score", "rows.jsonl", *arguments])
        return status, capsys.readouterr()

    return score


def test_values_on_the_scales_of_their_libraries_with_intervals(score, with_wordnet, tmp_path):
    (tmp_path / "data").symlink_to(with_wordnet / "data")
    status, _ = score(ROWS, "--metrics", "rouge", "bleu", "chrf", "meteor", "--output", "scores.json")
    assert status == 0
    found = json.loads((tmp_path / "scores.json").read_text())
    assert (found["items"], found["empty"]) == (4, 1)
    assert set(found["metrics"]) == {
        "rouge1", "rouge2", "rougeL", "rougeLsum", "sacrebleu", "sacrebleu_sentence", "nltk_bleu", "bleu2", "chrf",
        "meteor",
    }  # fmt: skip
    for name, metric in found["metrics"].items():
        most = 100 if name in ("sacrebleu", "sacrebleu_sentence", "chrf") else 1
        assert most / 20 < metric["value"] < most, name
        assert metric["low"] < metric["value"] < metric["high"], name


def test_an_interval_of_a_mean_is_that_of_students_t(score):
    rows = [{"id": number, "prediction": "a" if number % 3 else "b", "reference": "a"} for number in range(300)]
    _, printed = score(rows, "--metrics", "exact_match")
    found = json.loads(printed.out)["metrics"]["exact_match"]
    values = [float(row["prediction"] == "a") for row in rows]
    student = stats.ttest_1samp(values, 0).confidence_interval()
    assert found["value"] == pytest.approx(2 / 3)
    assert [found["low"], found["high"]] == pytest.approx([student.low, student.high], abs=0.01)


def test_rows_of_one_dialogue_are_resampled_together(score):
    def width(dialogue):
        rows = [
            {"id": number, "prediction": "a" if number < 50 else "b", "reference": "a", "dialogue": dialogue(number)}
            for number in range(100)
        ]
        _, printed = score(rows, "--metrics", "exact_match")
        found = json.loads(printed.out)["metrics"]["exact_match"]
        return found["high"] - found["low"]

    assert width(lambda number: number // 10) > 2 * width(lambda number: number)


def test_one_row_has_values_and_no_interval(score):
    _, printed = score(ROWS[:1], "--metrics", "rouge", "distinct")
    found = json.loads(printed.out)["metrics"]
    assert found["rouge1"]["low"] is found["rouge1"]["high"] is None
    assert found["distinct1"]["value"] == 1


def test_of_a_value_that_is_undefined_nothing_is_said(score):
    _, printed = score([{"id": 1, "prediction": "", "reference": ""}], "--metrics", "distinct", "length")
    found = json.loads(printed.out)["metrics"]
    assert found["distinct1"]["value"] is None
    assert found["length_ratio"]["value"] is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a", "prediction": "x", "reference": "y"}, {"id": "a", "prediction": "x", "reference": "y"}],
         "rows.jsonl:2: the id 'a' is there twice, first in line 1"),
        ([{"prediction": "x", "reference": "y"}], "rows.jsonl:1: needs an 'id', a text or a number"),
        ([{"id": "a", "prediction": "x"}], "rows.jsonl:1: needs 'reference' with a text, not None"),
        ([{"id": "a", "prediction": float("nan"), "reference": "y"}], "needs 'prediction' with a text, not nan"),
        ([["a", "x", "y"]], "rows.jsonl:1: needs an object with id, prediction and reference"),
        ('{"id": "a", "prediction": "x", "reference": "y"}\n\n{"id": \n', "rows.jsonl:3: not valid JSON"),
        ("", "rows.jsonl: no rows, so there is nothing to score"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_their_line(score, rows, message, tmp_path):
    status, printed = score(rows, "--metrics", "rouge", "--output", "out.json")
    assert status == 1
    assert message in printed.err
    assert not (tmp_path / "out.json").exists()


def test_unknown_metrics_and_missing_files(score):
    status, printed = score(ROWS, "--metrics", "rogue")
    assert status == 1
    assert (
        "there is no metric 'rogue' of texts. Did you mean 'rouge'? Valid: bertscore, bleu, bleu2, chrf" in printed.err
    )
    assert main(["score", "nothing.jsonl", "--metrics", "rouge"]) == 1


def test_a_language_decides_about_capital_letters(score):
    rows = [{"id": 1, "prediction": "ISPARTA", "reference": "ısparta"}]
    _, printed = score(rows, "--metrics", "rouge", "--language", "tr")
    assert json.loads(printed.out)["metrics"]["rouge1"]["value"] == 1
    status, printed = score(rows, "--metrics", "rouge", "--language", "turkish")
    assert status == 1
    assert "language" in printed.err


def test_mixed_languages_and_empty_references_are_told_and_how_each_number_was_made(score):
    rows = [
        {"id": 1, "prediction": "The cat sat on the mat.", "reference": "The cat sat on the mat."},
        {"id": 2, "prediction": "今天天气很好。", "reference": "今天天气很好啊。"},
        {"id": 3, "prediction": "Hello there.", "reference": ""},
    ]
    status, printed = score(rows, "--metrics", "sacrebleu", "exact_match", "length")
    assert status == 0
    found = json.loads(printed.out)
    assert found["empty_references"] == 1
    assert "1 of 3 references have no text" in printed.err
    assert "the references are written in several ways" in printed.err
    assert "tok:" in found["made"]["sacrebleu"]["signature"]
    assert "sacrebleu" in found["made"]["sacrebleu"]["libraries"]


def test_no_interval_goes_beyond_what_a_metric_can_be(score):
    rows = [
        {"id": 1, "prediction": "The cat sat on the mat.", "reference": "The cat sat on the mat."},
        {"id": 2, "prediction": "Something else.", "reference": "A dog barked at the old man."},
    ]
    _, printed = score(rows, "--metrics", "rouge", "sacrebleu", "chrf", "exact_match", "length")
    for name, each in json.loads(printed.out)["metrics"].items():
        most = {"sacrebleu": 100, "sacrebleu_sentence": 100, "chrf": 100}.get(name, 1)
        assert 0 <= each["low"] <= each["value"] <= each["high"], name
        assert each["high"] <= most or name in ("answer_words", "length_ratio"), name
