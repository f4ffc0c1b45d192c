"""METEOR, distinct-n, length, exact match; and every metric as one of `evaluate`."""

import json
import math
import subprocess
import sys

import pytest
from metric_cases import items_of, texts, values_of

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.metrics import METRICS, as_evaluate, columns_of
from loragrid.metrics.base import grouped_mean


def test_meteor_knows_synonyms_and_stems(wordnet):
    exact, stem, synonym, other = (
        values_of("meteor", [answer], ["the cat sat on the mat"])["meteor"]
        for answer in ("the cat sat on the mat", "the cats sat on the mat", "the cat sat on the rug", "a b c d e f")
    )
    assert exact > 0.99
    assert stem > 0.99
    assert 0.7 < synonym < 1
    assert other == 0


def test_wordnet_is_whole(with_wordnet, wordnet):
    import nltk

    values_of("meteor", ["a cat"], ["the cat"])
    assert len(list(nltk.corpus.wordnet.all_synsets())) == 117_659
    manifest = read_json(with_wordnet / "data/wordnet/provenance.json")
    assert manifest["version"] == "3.0"
    assert len(manifest["files"]["lexnames"]) == 64


def test_meteor_without_wordnet_says_how_to_get_it(tmp_path):
    script = (
        "from loragrid.metrics import METRICS; from loragrid.metrics.base import Texts; m = METRICS['meteor'];"
        "m.items(Texts(['a cat'], ['the cat']), m.Options())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "get it with: python -m loragrid download --wordnet" in done.stderr


def test_distinct_words_of_all_answers():
    found = METRICS["distinct"].whole(texts(["a b a", "b c"], ["", ""]), METRICS["distinct"].Options())
    assert found == {"distinct1": 3 / 5, "distinct2": 3 / 3}
    nothing = METRICS["distinct"].whole(texts(["", "…"], ["", ""]), METRICS["distinct"].Options())
    assert all(map(math.isnan, nothing.values()))


def test_length_has_no_direction():
    assert values_of("length", ["a b", "你好"], ["a b c d", "你好"]) == {"answer_words": 2, "length_ratio": 4 / 6}
    assert {column.higher_is_better for column in METRICS["length"].COLUMNS} == {None}


def test_a_mean_over_groups_counts_each_the_same():
    column = grouped_mean("accuracy_by_subject", "accuracy", of="right", by="subject")
    items = [{"groups": {"subject": "law"}, "right": 1.0}] * 3 + [{"groups": {"subject": "art"}, "right": 0.0}]
    assert column.of(items) == 0.5
    # Two groups of three in a resample: that of the one that is left out does not count.
    sums = column.statistics([*items, {"groups": {"subject": "zoo"}, "right": 1.0}])[:4].sum(axis=0)
    assert column.value(sums) == 0.5


def test_labels_name_columns():
    score = {"name": "rouge", "label": "rouge_stemmed"}
    assert [column.name for column in columns_of(score).values()] == [
        "rouge_stemmed_1", "rouge_stemmed_2", "rouge_stemmed_L", "rouge_stemmed_Lsum",
    ]  # fmt: skip
    named = columns_of({"name": "likelihood", "label": "short"})
    assert named["perplexity"].name == "short_perplexity"
    assert named["perplexity"].title == "perplexity (short)"


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.PLACE == "cpu"])
def test_every_metric_of_texts_is_one_of_evaluate(name, wordnet):
    answers, references = ["The cat sat on a mat.", "hello there"], ["The cat sat on the mat.", "hello you"]
    metric = as_evaluate(name)
    found = metric.compute(predictions=answers, references=references)
    assert set(found) == {column.name for column in METRICS[name].COLUMNS}
    if name != "distinct":
        assert found == pytest.approx(values_of(name, answers, references))
    for answer, reference in zip(answers, references, strict=True):
        metric.add(prediction=answer, reference=reference)
    assert metric.compute() == pytest.approx(found)


def test_evaluate_combines_them():
    import evaluate

    both = evaluate.combine([as_evaluate("chrf"), as_evaluate("rouge", stemming=True)])
    found = both.compute(predictions=["The cats sat."], references=["The cat sat."])
    assert set(found) >= {"chrf", "rouge1"}
    assert found["rouge1"] == 1


def test_what_is_no_metric_of_texts_or_no_setting_is_told():
    with pytest.raises(UserError, match=r"no metric 'likelihood' of texts; there are: .*chrf"):
        as_evaluate("likelihood")
    with pytest.raises(UserError, match=r"rouge.stem: unknown key. Did you mean 'stemming'"):
        as_evaluate("rouge", stem=True)
    with pytest.raises(UserError, match="no predictions"):
        as_evaluate("chrf").compute(predictions=[], references=[])


def test_items_are_json():
    for name, metric in METRICS.items():
        if metric.PLACE == "cpu" and name != "meteor":
            json.dumps(items_of(name, ["a b", ""], ["a c", "b"]), allow_nan=False)
