"""ROUGE."""

import pytest
from metric_cases import items_of, values_of


def test_rouge_by_hand():
    # 2 of 3 words in common, of an answer of 3 and a reference of 4: P = 2/3, R = 2/4, F1 = 4/7.
    (item,) = items_of("rouge", ["a b x"], ["a b c d"])
    assert item["rouge1"] == pytest.approx(4 / 7)
    assert item["rouge2"] == pytest.approx(2 * (1 / 2) * (1 / 3) / (1 / 2 + 1 / 3))
    (item,) = items_of("rouge", ["d c\nb a"], ["a b c d"])
    assert item["rougeL"] == pytest.approx(1 / 4)
    assert item["rougeLsum"] == pytest.approx(2 / 4)


def test_rouge_is_the_mean_over_items():
    values = values_of("rouge", ["hello goodbye", "ankh morpork"], ["goodbye", "general kenobi"])
    assert values["rouge1"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("text", ["你好世界", "şöyle güzel", "hello there general kenobi"])
def test_an_equal_answer_scores_1_in_any_script(text):
    assert set(values_of("rouge", [text], [text]).values()) == {1.0}


def test_an_empty_answer_scores_0():
    assert set(values_of("rouge", ["", ""], ["a b c d e", "f"]).values()) == {0.0}
