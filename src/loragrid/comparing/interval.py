"""95 % intervals from resampled dialogues.

Each end is the farther one of two intervals, since each of them alone is too short somewhere (`benchmarks/chance.py`
measures it):

- the expanded percentile interval: quantiles of the resampled values (Efron and Tibshirani 1993, section 13.3), at the
  level Φ(−√(n/(n−1)) · t) instead of 2.5 %, where t is the 97.5 % quantile of Student's distribution with n − 1 degrees
  of freedom (Hesterberg 2015, "What teachers should know about the bootstrap", on expanded percentile intervals). The
  plain one is too short by this much on few dialogues; both are too short where the items are skewed, and with fewer
  than five dialogues.
- the bootstrap-t interval (Efron and Tibshirani 1993, section 12.5): quantiles of (resampled − observed) / standard
  error, which see skewness. The standard error is that of the infinitesimal jackknife (Efron and Tibshirani 1993,
  chapter 21; for functions of sums the delta method). In a resample without any of the few dialogues that differ it
  would be 0: it counts as at least that of `_FLOOR` of the observed variance. This interval is too short where the
  value bends, as perplexity does.

BCa (Efron and Tibshirani 1993, section 14.3) corrects for skewness too, but is as short as the percentile interval on
few dialogues: in simulations it did worse than these.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

from loragrid.comparing.draws import RESAMPLES, Draws
from loragrid.comparing.measure import NOISE, Measure, without_noise

LEVEL = 0.95

_FLOOR = 0.1
_FEW = 0.25
"""Where there are fewer kinds of dialogues than this share of them (above all questions that are answered right or
wrong), they are counted by kind: a resample is the same, and made in a fraction of the time."""

_STEP = 1e-6  # relative step of the numeric derivatives


@dataclass(frozen=True)
class Interval:
    """A 95 % interval.

    Args:
        low: lower end; NaN where the metric is undefined in some resample.
        high: upper end.
    """

    low: float
    high: float


def within(measure: Measure, interval: Interval) -> tuple[float, float]:
    """The ends of the interval of a value, cut where the metric can have no value."""
    least, most = measure.bounds
    return max(interval.low, least), min(interval.high, most)


Contrast = Mapping[int, float]
"""A weighted sum of the values of systems: number of the system → weight. One system with weight 1 is its own value."""


def bootstrap(
    measure: Measure, systems: Sequence[np.ndarray], contrasts: Sequence[Contrast], draws: Draws
) -> list[Interval]:
    """The intervals of weighted sums of values, all systems' dialogues resampled together.

    Args:
        measure: the metric.
        systems: of each, statistics summed by dialogue, shape (dialogues, statistics), dialogues in the same order.
        contrasts: what is asked for.
        draws: draws over these dialogues.

    Returns:
        One for each contrast. It does not depend on what else is asked for. Where resampling changes nothing, as
        with a constant difference, both ends are the value itself.
    """
    found: dict[int, Interval] = {}
    joint = []
    for number, contrast in enumerate(contrasts):
        own = [systems[system] for system in contrast]
        kinds = _kinds(own)
        if kinds.max() + 1 > _FEW * draws.size:
            joint.append(number)
            continue
        first = np.unique(kinds, return_index=True)[1]
        alone = dict(enumerate(contrast.values()))
        (found[number],) = _intervals(measure, [sums[first] for sums in own], [alone], draws, kinds)
    everyone = np.arange(draws.size)
    together = _intervals(measure, systems, [contrasts[number] for number in joint], draws, everyone) if joint else []
    found |= dict(zip(joint, together, strict=True))
    return [found[number] for number in range(len(contrasts))]


def _kinds(systems: Sequence[np.ndarray]) -> np.ndarray:
    """Which dialogues are the same in all statistics of some systems: numbers from 0, shape (dialogues,)."""
    kinds = np.zeros(len(systems[0]), dtype=np.int64)
    for sums in systems:
        numbers: dict[bytes, int] = {}
        own = [numbers.setdefault(row.tobytes(), len(numbers)) for row in np.ascontiguousarray(sums)]
        kinds = np.unique(kinds * len(numbers) + own, return_inverse=True)[1]
    return kinds


def _counts_of(kinds: np.ndarray, draws: Draws) -> Iterator[np.ndarray]:
    """Chunks of the bootstrap: how often each kind of dialogue is drawn, shape (draws, kinds)."""
    if kinds.max() + 1 == len(kinds):
        yield from draws.counts()
        return
    order = np.argsort(kinds, kind="stable")
    starts = np.flatnonzero(np.diff(kinds[order], prepend=-1))
    for counts in draws.counts():
        yield np.add.reduceat(counts[:, order], starts, axis=1)


def _intervals(
    measure: Measure, systems: Sequence[np.ndarray], contrasts: Sequence[Contrast], draws: Draws, kinds: np.ndarray
) -> list[Interval]:
    """The intervals of weighted sums of values.

    Args:
        measure: the metric.
        systems: statistics of each kind of dialogue, shape (kinds, statistics).
        contrasts: what is asked for.
        draws: draws over the dialogues.
        kinds: of the dialogues, or their own numbers where they are not told apart.
    """
    whole = np.bincount(kinds)[None].astype(np.float64)
    values, sizes, variances = _weighted(measure, systems, contrasts, whole, draws.size)
    resampled = np.empty((len(contrasts), RESAMPLES))
    resampled_variances = np.empty_like(resampled)
    start = 0
    for counts in _counts_of(kinds, draws):
        chunk = slice(start, start + len(counts))
        resampled[:, chunk], _, resampled_variances[:, chunk] = _weighted(
            measure, systems, contrasts, counts, draws.size
        )
        start = chunk.stop
    freedom = draws.size - 1
    tail = (1 - LEVEL) / 2
    expanded = ndtr(-stdtrit(freedom, 1 - tail) * (draws.size / freedom) ** 0.5)
    low, high = np.quantile(resampled, [expanded, 1 - expanded], axis=1)

    error = np.sqrt(variances)
    constant = error[:, 0] <= NOISE * sizes[:, 0]
    with np.errstate(all="ignore"):
        studentised = (resampled - values) / np.sqrt(np.maximum(resampled_variances, _FLOOR * variances))
        t_low, t_high = np.quantile(studentised, [tail, 1 - tail], axis=1)
        low = np.where(constant, low, np.minimum(low, values[:, 0] - t_high * error[:, 0]))
        high = np.where(constant, high, np.maximum(high, values[:, 0] - t_low * error[:, 0]))
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _weighted(
    measure: Measure,
    systems: Sequence[np.ndarray],
    contrasts: Sequence[Contrast],
    counts: np.ndarray,
    dialogues: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted sums of values in each resample.

    Args:
        measure: the metric.
        systems: statistics by kind of dialogue.
        contrasts: the weights.
        counts: how often each kind is drawn, shape (draws, kinds).
        dialogues: how many are drawn each time.

    Returns:
        Their values, the sums of absolute values and their variances, each of shape (contrasts, draws).
    """
    draws, kinds = counts.shape
    weights: list[list[tuple[int, float]]] = [[] for _ in systems]
    for number, contrast in enumerate(contrasts):
        for system, weight in contrast.items():
            weights[system].append((number, weight))
    values, sizes = np.zeros((2, len(contrasts), draws))
    influences = np.zeros((len(contrasts), draws, kinds))
    for sums, uses in zip(systems, weights, strict=True):
        value, influence = _linear(measure, sums, counts, dialogues)
        for number, weight in uses:
            values[number] += weight * value
            sizes[number] += np.abs(weight * value)
            influences[number] += weight * influence
    np.square(influences, out=influences)
    variances = np.einsum("cdi,di->cd", influences, counts) * (dialogues / (dialogues - 1))
    return without_noise(values, sizes), sizes, variances


def _linear(measure: Measure, sums: np.ndarray, counts: np.ndarray, dialogues: int) -> tuple[np.ndarray, np.ndarray]:
    """The value of each resample, and by how much each dialogue moves it.

    Args:
        measure: the metric.
        sums: shape (kinds, statistics).
        counts: shape (draws, kinds).
        dialogues: how many are drawn each time.

    Returns:
        Values, shape (draws,), and the empirical influences divided by the number of dialogues, shape (draws,
        kinds): f'(S) · (xᵢ − S/n), with the derivative at the sums S taken numerically.
    """
    kinds, statistics = sums.shape
    totals = counts @ sums
    scale = np.abs(sums).mean(axis=0) * dialogues
    # A sum of 0 is either one of counts (then no dialogue of the resample has any, and the slope does not matter) or
    # one in which signs cancel: there a step is as large as a dialogue.
    steps = np.where(np.abs(totals) > NOISE * scale, _STEP * np.abs(totals), scale / dialogues)
    with np.errstate(all="ignore"):
        values = measure.value(totals)
        moved = measure.value(totals + np.eye(statistics)[:, None] * steps)
        slopes = np.where(steps > 0, (moved - values).T / steps, 0.0)
        # The subtraction as one more statistic, so that the large array is written once.
        mean = (slopes * totals).sum(axis=1) / dialogues
        influence = np.column_stack([slopes, -mean]) @ np.vstack([sums.T, np.ones(kinds)])
    return values, influence
