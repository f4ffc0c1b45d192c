"""Scores of answers against references."""

import json
from pathlib import Path

import pytest

from loragrid.errors import UserError
from loragrid.metrics import METRICS
from loragrid.scoring import FAMILIES, bleu, rouge
from loragrid.scoring.text import score_text
from loragrid.words import words

_FACTS = Path(__file__).parents[3] / "shared" / "facts" / "metric_cases.json"


def cases(kind):
    """Input and value pairs from the reference implementations' own tests, kept beside the repository."""
    if not _FACTS.exists():
        pytest.skip(f"no {_FACTS}: reference values are not on this machine")
    return [case for case in json.loads(_FACTS.read_text())["cases"] if case["metric"] in kind]


def write(folder, prompts, answers):
    """The two input files, from (id, dialogue, reference) and (id, answer)."""
    names = ("id", "dialogue", "reference"), ("id", "answer")
    files = folder / "prompts.jsonl", folder / "generations.jsonl"
    for file, keys, records in zip(files, names, (prompts, answers), strict=True):
        file.write_text("".join(json.dumps(dict(zip(keys, record, strict=True))) + "\n" for record in records))
    return files


def score(folder, pairs):
    prompts = [(f"{index}", f"d{index}", reference) for index, (_, reference) in enumerate(pairs)]
    files = write(folder, prompts, [(f"{index}", answer) for index, (answer, _) in enumerate(pairs)])
    score_text(*files, folder / "scores" / "text.json", "k" * 64)
    return json.loads((folder / "scores" / "text.json").read_text())


def test_the_families_name_their_metrics_and_needs():
    assert {name: (set(family.metrics), family.needs_model) for name, family in FAMILIES.items()} == {
        "text": ({"rouge1", "rouge2", "rougeL", "rougeLsum", "bleu"}, False),
        "likelihood": ({"perplexity", "bits_per_byte"}, True),
    }
    assert {name for family in FAMILIES.values() for name in family.metrics} == set(METRICS)


def test_rouge_by_hand():
    # 2 of 3 words in common, of an answer of 3 and a reference of 4: P = 2/3, R = 2/4, F1 = 4/7.
    (item,) = rouge.items(["a b x"], ["a b c d"])
    assert item["rouge1"] == pytest.approx(4 / 7)
    assert item["rouge2"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    (item,) = rouge.items(["d c\nb a"], ["a b c d"])
    assert item["rougeL"] == pytest.approx(1 / 4)
    assert item["rougeLsum"] == pytest.approx(2 / 4)


def test_rouge_equals_the_reference_implementation():
    for case in cases({"rouge1", "rouge2", "rougeL", "rougeLsum"}):
        if case["params"]["use_stemmer"] or not case["references"][0].isascii():
            continue
        (item,) = rouge.items(case["predictions"], case["references"])
        assert item[case["metric"]] == pytest.approx(case["expected"]["fmeasure"], abs=case["tolerance"]), case[
            "source"
        ]


def test_rouge_is_the_mean_over_items(tmp_path):
    content = score(tmp_path, [("hello goodbye", "goodbye"), ("ankh morpork", "general kenobi")])
    assert content["metrics"]["rouge1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Şöyle GÜZEL, değil mi?", ["şöyle", "güzel", "değil", "mi"]),
        ("你好 世界!", ["你", "好", "世", "界"]),
        ("GPT4很好", ["gpt4", "很", "好"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301 naïve", ["café", "naïve"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("안녕 세상", ["안녕", "세상"]),
        (" \u0301 — … _", []),
    ],
)
def test_words_of_any_script(text, tokens):
    assert words(text) == tokens


def test_words_of_ascii_text_are_those_of_rouge_score():
    from rouge_score.tokenize import tokenize

    for text in ("Hello, World! it's 3.14_pi", "", "a-b_c\td\n\nE", "".join(map(chr, range(128)))):
        assert words(text) == tokenize(text, None)


@pytest.mark.parametrize("text", ["你好世界", "şöyle güzel", "hello there general kenobi"])
def test_an_equal_answer_scores_1_in_any_script(text):
    assert set(rouge.items([text], [text])[0].values()) == {1.0}


def test_bleu_from_summed_counts_equals_sacrebleu():
    from sacrebleu.metrics.bleu import BLEU

    corpora = [
        (["The dog bit the man.", "It wasn't surprising."], ["The dog had bit the man.", "No one was surprised."]),
        (["a b c d e", "x"], ["a b c d f", "y z"]),  # unmatched orders are smoothed
        (["a b", "c"], ["a b", "c"]),  # no 3-grams at all
        (["", ""], ["a b c d", "e f g h"]),
        (["q r s t"], ["a b c d"]),
        (["the the the the the"], ["the cat the mat is on"]),
    ]
    for answers, references in corpora:
        value = METRICS["bleu"].of(bleu.items(answers, references))
        assert value == pytest.approx(BLEU().corpus_score(answers, [references]).score, abs=1e-9)


def test_bleu_equals_the_published_values():
    # Two references each, which our data never has: their counts are taken from sacrebleu, the value is ours.
    from sacrebleu.metrics.bleu import BLEU

    for case in cases({"sacrebleu_corpus"}):
        if set(case["params"]) - {"tokenize"}:
            continue
        scorer = BLEU(**case["params"], effective_order=True)
        scores = [
            scorer.sentence_score(answer, list(references))
            for answer, *references in zip(case["predictions"], *case["references"], strict=True)
        ]
        items = [
            {
                "bleu": {
                    "matches": s.counts,
                    "totals": s.totals,
                    "answer_tokens": s.sys_len,
                    "reference_tokens": s.ref_len,
                }
            }
            for s in scores
        ]
        assert METRICS["bleu"].of(items) == pytest.approx(case["expected"], abs=case["tolerance"]), case["source"]


def test_chinese_answers_are_cut_by_the_chinese_tokenizer(tmp_path):
    content = score(tmp_path, [("今天天气很好", "今天天气不好"), ("谢谢你", "谢谢你")])
    assert "tok:zh" in content["versions"]["bleu_signature"]
    assert content["metrics"]["bleu"] > 40


def test_the_score_file(tmp_path):
    content = score(tmp_path, [("The cat sat on the mat.", "The cat sat on a mat."), ("", "Not empty.")])
    assert (content["family"], content["key"]) == ("text", "k" * 64)
    assert [(item["id"], item["dialogue"]) for item in content["items"]] == [("0", "d0"), ("1", "d1")]
    assert content["items"][1]["rouge1"] == 0
    assert set(content["metrics"]) == set(FAMILIES["text"].metrics)
    assert set(content["versions"]) == {"rouge-score", "sacrebleu", "bleu_signature"}
    assert "tok:13a" in content["versions"]["bleu_signature"]


def test_only_empty_answers_score_0(tmp_path):
    content = score(tmp_path, [("", "a b c d e"), ("", "f")])
    assert set(content["metrics"].values()) == {0.0}


def test_answers_are_paired_by_id_in_any_order(tmp_path):
    prompts = [("a", "d", "one two"), ("b", "d", "three four")]
    files = write(tmp_path, prompts, [("b", "three four"), ("a", "one two")])
    score_text(*files, tmp_path / "out.json", "k")
    assert json.loads((tmp_path / "out.json").read_text())["metrics"]["rouge1"] == 1


@pytest.mark.parametrize(
    ("prompts", "answers", "message"),
    [
        ([("a", "d", "x"), ("b", "d", "x")], [("a", "y")], r"generations.jsonl: no answer to prompt 'b'"),
        ([("a", "d", "x")], [("a", "y"), ("c", "y")], r"generations.jsonl: the answer 'c' has no prompt"),
        ([("a", "d", "x")], [("a", "y"), ("a", "y")], r"generations.jsonl:2: the id 'a' is there twice"),
        ([("a", "d", "x"), ("a", "d", "x")], [("a", "y")], r"prompts.jsonl:2: the id 'a' is there twice"),
        ([], [], r"prompts.jsonl: no prompts"),
        ([("a", "d", "x")], [("a", None)], r"generations.jsonl:1: needs 'answer' with a text"),
    ],
)
def test_prompts_and_answers_must_pair_up(tmp_path, prompts, answers, message):
    with pytest.raises(UserError, match=message):
        score_text(*write(tmp_path, prompts, answers), tmp_path / "out.json", "k")
    assert not (tmp_path / "out.json").exists()
