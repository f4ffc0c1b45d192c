"""Whether chance explains a difference: paired resampling over dialogues.

Turns of one dialogue resemble one another, so dialogues are resampled whole, both systems' together:

- interval: paired bootstrap (Koehn 2004, section 3), percentile form (Efron and Tibshirani 1993, section 13.3), 95 %;
- p-value: paired permutation. If the two systems are equal, swapping their answers to a dialogue changes nothing
  (Noreen 1989; for BLEU and other sums Riezler and Maxwell 2005, section 3);
- several comparisons: Holm (1979).

All draws follow from the dialogues' names: the same scores give the same digits.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loragrid.metrics import Column as Metric

ALPHA = 0.05
RESAMPLES = 10_000
PERMUTATIONS_PER_COMPARISON = 40
"""The smallest p-value of n permutations is 1/(n+1), and Holm multiplies it by the number of comparisons: in large
tables n grows, so that the product stays below 1/40 and a real difference can still be found."""

_ROWS = 1_000  # draws in one matrix product
_SYSTEMS = 64  # systems in one matrix product
_NOISE = 1e-9  # relative size of a difference that is only rounding

Verdict = Literal["better", "worse", "chance"]


@dataclass(frozen=True)
class Comparison:
    """One system against the untrained model, in one metric.

    Args:
        gain: difference of the values, above 0 if the system is better; NaN if the metric is undefined.
        low: lower end of the 95 % interval of the gain.
        high: upper end.
        p: two-sided p-value, before Holm.
        reason: why there is no interval and no p-value; empty if there are.
    """

    gain: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""


class Draws:
    """The resamples and swaps that all comparisons over the same dialogues share.

    Args:
        dialogues: their names, in the order of the statistics' rows.
        comparisons: how many comparisons the table makes in one metric.
    """

    def __init__(self, dialogues: Sequence[str], comparisons: int = 1):
        self.size = len(dialogues)
        permutations = max(RESAMPLES, PERMUTATIONS_PER_COMPARISON * comparisons)
        seed = hashlib.sha256("\n".join(dialogues).encode()).digest()
        random = np.random.default_rng(list(seed))
        # Kept small (two bytes, one bit); the chunks become floats only for their matrix product.
        self._counts = np.empty((RESAMPLES, self.size), dtype=np.uint16)
        for start in range(0, RESAMPLES, _ROWS):
            # One count over all rows of the chunk: row i has the numbers from i·size on.
            drawn = random.integers(self.size, size=(_ROWS, self.size)) + np.arange(_ROWS)[:, None] * self.size
            counts = np.bincount(drawn.ravel(), minlength=_ROWS * self.size)
            self._counts[start : start + _ROWS] = counts.reshape(_ROWS, self.size)
        self._swaps = random.integers(256, size=(permutations, -(-self.size // 8)), dtype=np.uint8)

    def counts(self) -> Iterator[np.ndarray]:
        """Chunks of the bootstrap: how often each dialogue is drawn, shape (draws, dialogues)."""
        for start in range(0, RESAMPLES, _ROWS):
            yield self._counts[start : start + _ROWS].astype(np.float64)

    def swaps(self) -> Iterator[np.ndarray]:
        """Chunks of the permutations: 1 where a dialogue's answers are swapped, shape (draws, dialogues)."""
        for start in range(0, len(self._swaps), _ROWS):
            yield np.unpackbits(self._swaps[start : start + _ROWS], axis=1, count=self.size).astype(np.float64)


def compare(
    metric: Metric, untrained: np.ndarray, systems: Sequence[np.ndarray], draws: Draws | None
) -> list[Comparison]:
    """Compare systems with the untrained model.

    Args:
        metric: how summed statistics become a value.
        untrained: statistics summed by dialogue, shape (dialogues, statistics).
        systems: the same of each system, dialogues in the same order.
        draws: draws over these dialogues; None if there are fewer than two, which allow no interval.

    Returns:
        One comparison for each system.
    """
    comparisons: list[Comparison] = []
    for start in range(0, len(systems), _SYSTEMS):
        # dialogues × systems × statistics
        block = np.stack(systems[start : start + _SYSTEMS], axis=1)
        comparisons += _compare_block(metric, untrained, block, draws)
    return comparisons


def _compare_block(metric: Metric, untrained: np.ndarray, block: np.ndarray, draws: Draws | None) -> list[Comparison]:
    gains = _gain(metric, block.sum(axis=0), untrained.sum(axis=0))
    if draws is None:
        reason = "one dialogue only: no interval"
        return [Comparison(float(gain), reason=_undefined(gain) or reason) for gain in gains]

    resampled = np.concatenate(
        [_gain(metric, _product(counts, block), (counts @ untrained)[:, None]) for counts in draws.counts()]
    )
    low, high = np.quantile(resampled, [ALPHA / 2, 1 - ALPHA / 2], axis=0)

    difference = block - untrained[:, None]
    extreme = np.zeros(len(gains), dtype=int)
    permutations = 0
    for swaps in draws.swaps():
        moved = _product(swaps, difference)
        swapped = _gain(metric, block.sum(axis=0) - moved, untrained.sum(axis=0) + moved)
        extreme += (np.abs(swapped) >= np.abs(gains) * (1 - _NOISE)).sum(axis=0)
        permutations += len(swaps)
    p = (extreme + 1) / (permutations + 1)  # the observed order is one of the permutations (Phipson and Smyth 2010)

    comparisons = []
    for index, gain in enumerate(gains):
        if reason := _undefined(gain) or _undefined(low[index]) or _undefined(high[index]):
            comparisons.append(Comparison(float(gain), reason=reason))
        else:
            comparisons.append(Comparison(float(gain), float(low[index]), float(high[index]), float(p[index])))
    return comparisons


def _product(draws: np.ndarray, block: np.ndarray) -> np.ndarray:
    """(draws, dialogues) × (dialogues, systems, statistics) → (draws, systems, statistics)."""
    dialogues, systems, statistics = block.shape
    return (draws @ block.reshape(dialogues, systems * statistics)).reshape(-1, systems, statistics)


def _gain(metric: Metric, system: np.ndarray, untrained: np.ndarray) -> np.ndarray:
    """The gain of summed statistics, where a difference that is only rounding counts as none."""
    values, base = metric.value(system), metric.value(untrained)
    gain = metric.gain(values, base)
    return np.where(np.abs(gain) <= _NOISE * (np.abs(values) + np.abs(base)), 0.0, gain)


def _undefined(value: float) -> str:
    return "" if np.isfinite(value) else "the metric is undefined: no text, or values without bound"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of even one false claim below the level (Holm 1979).

    Args:
        p_values: of all comparisons in one table and metric.

    Returns:
        In the same order: the k-th smallest times (m − k + 1), never below an earlier one, at most 1.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def verdict(comparison: Comparison, p_holm: float | None) -> Verdict | None:
    """What may be said of a difference: `chance` unless both interval and adjusted p-value exclude it."""
    if comparison.low is None or comparison.high is None or p_holm is None:
        return None
    if p_holm >= ALPHA or comparison.low <= 0 <= comparison.high:
        return "chance"
    return "better" if comparison.gain > 0 else "worse"
