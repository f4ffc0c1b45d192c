"""Intervals, p-values and verdicts, against values known by hand and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from comparing_study import means, names

from loragrid.comparing.compare import compare as compare_pairs
from loragrid.comparing.draws import Draws
from loragrid.comparing.holm import holm
from loragrid.comparing.verdict import dialogues_needed, verdict
from loragrid.metrics import COLUMNS

MEASURES = {name: column for name, column in COLUMNS.items() if column.is_sum}
ROUGE, BITS, BLEU = COLUMNS["rougeL"], COLUMNS["bits_per_byte"], COLUMNS["sacrebleu"]


def compare(metric, untrained, systems, draws):
    return compare_pairs(metric, [[(system, untrained)] for system in systems], draws)


def said(metric, result, p_holm):
    return verdict(metric, result.gain, result.low, result.high, p_holm)


def test_a_gain_by_hand():
    untrained, tuned = means([0.1, 0.2, 0.3, 0.4]), means([0.2, 0.2, 0.5, 0.5])
    (result,) = compare(ROUGE, untrained, [tuned], Draws(names(4)))
    assert result.gain == pytest.approx(0.1)
    # Differences 0.1, 0, 0.2, 0.1: of the 16 swaps, the 2 without a change of sign (the zero may be swapped) and their
    # mirror images are as far from 0 as what was seen. All are gone through.
    assert result.p == 4 / 16
    assert result.low < 0.025
    assert result.high > 0.175


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


@pytest.mark.parametrize("metric", MEASURES.values(), ids=list(MEASURES))
def test_equal_systems_have_gain_0_and_p_1(metric):
    random = np.random.default_rng(1)
    statistics = random.integers(1, 9, size=(30, 10 if metric is BLEU else 2)) * 0.1
    if metric is BLEU:
        statistics[:, 2:6] = 0  # nothing matched at all
    (result,) = compare(metric, statistics, [statistics.copy()], Draws(names(30)))
    assert (result.gain, result.low, result.high, result.p) == (0, 0, 0, 1)
    assert said(metric, result, result.p) == "chance"


def test_one_dialogue_allows_no_interval():
    (result,) = compare(ROUGE, means([0.1]), [means([0.4])], None)
    assert (result.gain, result.low, result.p) == (pytest.approx(0.3), None, None)
    assert result.reason == "one dialogue only: no interval"


def test_an_undefined_metric_is_told_and_not_nan():
    (result,) = compare(BITS, np.zeros((3, 2)), [np.zeros((3, 2))], Draws(names(3)))
    assert result.p is None
    assert "undefined" in result.reason


def test_the_same_dialogues_give_the_same_digits_alone_or_with_others():
    random = np.random.default_rng(2)
    untrained, *systems = (means(random.random(40)) for _ in range(20))
    together = compare(ROUGE, untrained, systems, Draws(names(40)))
    alone = compare(ROUGE, untrained, systems[17:18], Draws(names(40)))
    assert alone[0] == together[17]


@pytest.mark.parametrize("size", [2, 12])
def test_a_constant_difference_is_its_own_interval(size):
    untrained = np.random.default_rng(4).random(size)
    (result,) = compare(ROUGE, means(untrained), [means(untrained + 0.25)], Draws(names(size)))
    assert [result.gain, result.low, result.high] == pytest.approx([0.25, 0.25, 0.25])
    assert result.p == 2 / 2**size


def test_the_mean_over_pairs_is_compared_as_one():
    random = np.random.default_rng(5)
    a, b, c, d = (random.random(20) for _ in range(4))
    (pairs,) = compare_pairs(ROUGE, [[(means(a), means(b)), (means(c), means(d))]], Draws(names(20)))
    (one,) = compare(ROUGE, means((b + d) / 2), [means((a + c) / 2)], Draws(names(20)))
    assert [pairs.gain, pairs.low, pairs.high, pairs.p] == pytest.approx([one.gain, one.low, one.high, one.p])


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
    chance = sum(said(ROUGE, result, result.p) == "chance" for result in null_simulation)
    assert 183 <= chance <= 198  # 190 expected; three standard deviations are 9


def test_the_interval_covers_the_truth_about_95_times_in_100(null_simulation):
    covered = sum(result.low <= 0 <= result.high for result in null_simulation)
    assert 183 <= covered <= 199


def test_p_values_without_a_difference_are_uniform(null_simulation):
    p = np.array([result.p for result in null_simulation])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert (p <= level).mean() == pytest.approx(level, abs=3 * (level * (1 - level) / len(p)) ** 0.5)


def test_a_real_difference_is_found():
    results = simulate(0.6, repetitions=20)
    assert {said(ROUGE, result, result.p) for result in results} == {"better"}


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
    assert verdict(ROUGE, (low + high) / 2, low, high, p_holm) == expected


def test_a_metric_without_direction_is_higher_or_lower():
    length = replace(ROUGE, name="length", higher_is_better=None)
    (result,) = compare(length, means([3.0, 4.0, 5.0]), [means([4.0, 6.0, 8.0])], Draws(names(3)))
    assert result.gain == 2
    assert [verdict(length, gain, gain - 1, gain + 1, 0.01) for gain in (2, -2)] == ["higher", "lower"]


@pytest.mark.parametrize(("comparisons", "needed"), [(1, 6), (2, 7), (8, 9), (2000, 17)])
def test_dialogues_needed_for_a_verdict(comparisons, needed):
    # Two-sided: 2/2ⁿ, multiplied by the number of comparisons, has to come below 0.05.
    assert dialogues_needed(comparisons) == needed


def test_dialogues_that_are_alike_are_counted_and_the_interval_is_the_same():
    # Right or wrong answers: four kinds of dialogues for two systems. Told apart by what is less than rounding, they
    # are resampled one by one.
    random = np.random.default_rng(5)
    right = random.integers(0, 2, size=(2, 80)).astype(float)
    tiny = random.random((2, 80)) * 1e-14
    (counted,) = compare(ROUGE, means(right[0]), [means(right[1])], Draws(names(80)))
    (one_by_one,) = compare(ROUGE, means(right[0] + tiny[0]), [means(right[1] + tiny[1])], Draws(names(80)))
    assert (counted.low, counted.high) == pytest.approx((one_by_one.low, one_by_one.high), abs=1e-9)
    assert counted.low < counted.gain < counted.high
