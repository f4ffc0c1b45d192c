"""What may be said of a difference."""

from typing import Literal

from loragrid.comparing.measure import Measure

ALPHA = 0.05

Verdict = Literal["better", "worse", "higher", "lower", "chance", "too few"]
"""`higher` and `lower` where a metric has no direction; `too few` dialogues for any claim."""


def verdict(measure: Measure, gain: float, low: float, high: float, p_holm: float) -> Verdict:
    """What may be said of a difference: `chance` unless both interval and adjusted p-value exclude it.

    Args:
        measure: the metric.
        gain: the difference, above 0 if it is an improvement.
        low: lower end of its interval.
        high: upper end.
        p_holm: adjusted p-value.
    """
    if p_holm >= ALPHA or low <= 0 <= high:
        return "chance"
    if measure.higher_is_better is None:
        return "higher" if gain > 0 else "lower"
    return "better" if gain > 0 else "worse"


def dialogues_needed(comparisons: int) -> int:
    """How many dialogues a table needs before any of its p-values can be below `ALPHA`.

    With n dialogues there are 2ⁿ ways to swap, and a two-sided p-value is at least 2/2ⁿ; the smallest one of a table is
    multiplied by the number of comparisons.
    """
    number = 2
    while comparisons * 2 / 2**number >= ALPHA:
        number += 1
    return number
