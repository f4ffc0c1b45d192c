"""BLEU by sacrebleu."""

import pytest
from metric_cases import texts, values_of

from loragrid.metrics import METRICS


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
        value = values_of("sacrebleu", answers, references)["sacrebleu"]
        assert value == pytest.approx(BLEU().corpus_score(answers, [references]).score, abs=1e-9)


def test_chinese_answers_are_cut_by_the_chinese_tokenizer():
    answers, references = ["今天天气很好", "谢谢你"], ["今天天气不好", "谢谢你"]
    assert values_of("sacrebleu", answers, references)["sacrebleu"] > 40
    about = METRICS["sacrebleu"].about(texts(answers, references), METRICS["sacrebleu"].Options())
    assert "tok:zh" in about["signature"]


def test_only_empty_answers_score_0():
    assert values_of("sacrebleu", ["", ""], ["a b c d e", "f"]) == {"sacrebleu": 0.0, "sacrebleu_sentence": 0.0}
