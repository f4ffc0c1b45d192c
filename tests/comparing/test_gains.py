"""Intervals, p-values and verdicts, against values known by hand and by simulation."""

import numpy as np
import pytest
from loragrid.reporting.chance import Comparison, Draws, compare, holm, verdict

from loragrid.metrics import METRICS

ROUGE, BITS, BLEU = METRICS["rougeL"], METRICS["bits_per_byte"], METRICS["bleu"]


def means(values):
    """Statistics of dialogues with one item each."""
    return np.column_stack([values, np.ones(len(values))])


def names(number):
    return [f"d{index}" for index in range(number)]


def test_a_gain_by_hand():
    untrained, tuned = means([0.1, 0.2, 0.3, 0.4]), means([0.2, 0.2, 0.5, 0.5])
    (result,) = compare(ROUGE, untrained, [tuned], Draws(names(4)))
    assert result.gain == pytest.approx(0.1)
    # Differences 0.1, 0, 0.2, 0.1: of the 16 swaps, the 4 without a change of sign (2 for the zero) and their mirror
    # images are as far from 0 as what was seen.
    assert result.p == pytest.approx(4 / 16, abs=0.015)
    assert result.low == pytest.approx(0.025, abs=0.026)
    assert result.high == pytest.approx(0.175, abs=0.026)


def test_less_is_better_for_bits_per_byte():
    untrained, tuned = np.array([[10.0, 5.0], [20.0, 5.0]]), np.array([[5.0, 5.0], [15.0, 5.0]])
    (result,) = compare(BITS, untrained, [tuned], Draws(names(2)))
    assert result.gain == pytest.approx(30 / 10 - 20 / 10)


def test_dialogues_are_resampled_whole():
    # Twenty equal turns in each dialogue say no more than one.
    random = np.random.default_rng(0)
    untrained, tuned = random.random(10), random.random(10)
    one = compare(ROUGE, means(untrained), [means(tuned)], Draws(names(10)))
    twenty = compare(ROUGE, 20 * means(untrained), [20 * means(tuned)], Draws(names(10)))
    assert [one[0].low, one[0].high, one[0].p] == pytest.approx([twenty[0].low, twenty[0].high, twenty[0].p])


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
def test_equal_systems_have_gain_0_and_p_1(metric):
    random = np.random.default_rng(1)
    statistics = random.integers(1, 9, size=(30, 10 if metric is BLEU else 2)) * 0.1
    if metric is BLEU:
        statistics[:, 2:6] = 0  # nothing matched at all
    (result,) = compare(metric, statistics, [statistics.copy()], Draws(names(30)))
    assert (result.gain, result.low, result.high, result.p) == (0, 0, 0, 1)
    assert verdict(result, result.p) == "chance"


def test_one_dialogue_allows_no_interval():
    (result,) = compare(ROUGE, means([0.1]), [means([0.4])], None)
    assert (result.gain, result.low, result.p) == (pytest.approx(0.3), None, None)
    assert result.reason == "one dialogue only: no interval"
    assert verdict(result, None) is None


def test_an_undefined_metric_is_told_and_not_nan():
    (result,) = compare(BITS, np.zeros((3, 2)), [np.zeros((3, 2))], Draws(names(3)))
    assert result.p is None
    assert "undefined" in result.reason


def test_the_same_dialogues_give_the_same_digits_alone_or_with_others():
    random = np.random.default_rng(2)
    untrained, *systems = (means(random.random(40)) for _ in range(20))
    together = compare(ROUGE, untrained, systems, Draws(names(40)))
    alone = compare(ROUGE, untrained, systems[17:18], Draws(names(40)))
    assert [alone[0].low, alone[0].high, alone[0].p] == pytest.approx(
        [together[17].low, together[17].high, together[17].p], rel=1e-12
    )


def simulate(effect, repetitions=200, dialogues=40):
    """Comparisons of systems that differ by `effect` on average, each on its own dialogues."""
    random = np.random.default_rng(3)
    draws = Draws(names(dialogues))
    results = []
    for _ in range(repetitions):
        hard = random.normal(0, 1, dialogues)
        untrained = means(hard + random.normal(0, 0.5, dialogues))
        tuned = means(hard + effect + random.normal(0, 0.5, dialogues))
        results += compare(ROUGE, untrained, [tuned], draws)
    return results


@pytest.fixture(scope="module")
def null_simulation():
    return simulate(0.0)


def test_without_a_difference_the_verdict_is_chance_about_95_times_in_100(null_simulation):
    chance = sum(verdict(result, result.p) == "chance" for result in null_simulation)
    assert 183 <= chance <= 198  # 190 expected; three standard deviations are 9


def test_the_interval_covers_the_truth_about_95_times_in_100(null_simulation):
    covered = sum(result.low <= 0 <= result.high for result in null_simulation)
    assert 180 <= covered <= 198  # the percentile interval is a little short for 40 dialogues


def test_p_values_without_a_difference_are_uniform(null_simulation):
    p = np.array([result.p for result in null_simulation])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert (p <= level).mean() == pytest.approx(level, abs=3 * (level * (1 - level) / len(p)) ** 0.5)


def test_a_real_difference_is_found():
    results = simulate(0.6, repetitions=20)
    assert {verdict(result, result.p) for result in results} == {"better"}


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1, never falling.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_in_a_large_table_a_real_difference_can_still_be_found():
    comparisons = 1000
    (result,) = compare(ROUGE, means(np.zeros(30)), [means(np.ones(30))], Draws(names(30), comparisons))
    assert holm([result.p] * comparisons)[0] < 0.05


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "expected"),
    [
        (0.1, 0.3, 0.001, "better"),
        (0.1, 0.3, 0.05, "chance"),
        (-0.1, 0.3, 0.001, "chance"),
        (-0.3, -0.1, 0.001, "worse"),
    ],
)
def test_verdicts(low, high, p_holm, expected):
    assert verdict(Comparison(gain=(low + high) / 2, low=low, high=high, p=p_holm), p_holm) == expected
