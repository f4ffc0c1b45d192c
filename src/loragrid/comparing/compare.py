"""One comparison: the difference of two systems, or its mean over pairs of them, with interval and p-value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loragrid.comparing.draws import Draws
from loragrid.comparing.interval import bootstrap
from loragrid.comparing.measure import Measure, of_all, sign, without_noise
from loragrid.comparing.permutation import Pairs, p_values

ONE_DIALOGUE = "one dialogue only: no interval"
UNDEFINED = "the metric is undefined: no text, or values without bound"

_AT_ONCE = 16  # differences; each needs an array of resamples × dialogues


@dataclass(frozen=True)
class Comparison:
    """A difference in one metric.

    Args:
        gain: above 0 if it is an improvement (or a higher value, where a metric has no direction); NaN if the metric
            is undefined.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p-value, before Holm.
        smallest_p: the smallest one that a test over these dialogues can give.
        reason: why there is no interval and no p-value; empty if there are.
    """

    gain: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    smallest_p: float | None = None
    reason: str = ""


def compare(measure: Measure, differences: Sequence[Pairs], draws: Draws | None) -> list[Comparison]:
    """Compare systems.

    Args:
        measure: the metric.
        differences: each a list of pairs, of which the second is subtracted from the first; the mean over them counts.
        draws: draws over the dialogues; None if there are fewer than two, which allow no interval.

    Returns:
        One for each difference, whatever else is compared beside it.
    """
    gains = [_gain(measure, pairs) for pairs in differences]
    if draws is None:
        return [Comparison(gain, reason=_undefined(gain) or ONE_DIALOGUE) for gain in gains]
    comparisons = []
    for start in range(0, len(differences), _AT_ONCE):
        block = differences[start : start + _AT_ONCE]
        systems, contrasts = _as_contrasts(measure, block)
        intervals = bootstrap(measure, systems, contrasts, draws)
        comparisons += [
            Comparison(gain, reason=reason)
            if (reason := _undefined(gain, interval.low, interval.high))
            else Comparison(gain, interval.low, interval.high)
            for gain, interval in zip(gains[start : start + _AT_ONCE], intervals, strict=True)
        ]
    tested = [number for number, comparison in enumerate(comparisons) if comparison.low is not None]
    p = p_values(measure, [differences[number] for number in tested], draws)
    for number, value in zip(tested, p, strict=True):
        found = comparisons[number]
        comparisons[number] = Comparison(found.gain, found.low, found.high, value, draws.smallest_p)
    return comparisons


def _gain(measure: Measure, pairs: Pairs) -> float:
    ones, others = of_all(measure, [pair[0] for pair in pairs]), of_all(measure, [pair[1] for pair in pairs])
    with np.errstate(all="ignore"):
        difference = sign(measure) * (ones - others).mean()
    if not np.isfinite(difference):
        return float("nan")
    return float(without_noise(difference, (np.abs(ones) + np.abs(others)).mean()))


def _as_contrasts(measure: Measure, differences: Sequence[Pairs]) -> tuple[list[np.ndarray], list[dict[int, float]]]:
    """The systems of some differences, each once, and the weights with which they enter."""
    numbers: dict[int, int] = {}
    systems: list[np.ndarray] = []
    contrasts = []
    for pairs in differences:
        contrast: dict[int, float] = {}
        for one, other in pairs:
            for sums, weight in ((other, -1.0), (one, 1.0)):
                number = numbers.setdefault(id(sums), len(systems))
                if number == len(systems):
                    systems.append(sums)
                contrast[number] = contrast.get(number, 0.0) + sign(measure) * weight / len(pairs)
        contrasts.append(contrast)
    return systems, contrasts


def _undefined(*values: float) -> str:
    return "" if np.isfinite(values).all() else UNDEFINED
