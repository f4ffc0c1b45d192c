"""p-values by paired permutation.

If two systems are equal, swapping their answers to a dialogue changes nothing (Noreen 1989; for BLEU and other
functions of sums Riezler and Maxwell 2005, section 3). The p-value is the share of swaps with a difference at least as
large as the observed one: of all swaps where these can be gone through, else of random ones, the observed order counted
among them (Phipson and Smyth 2010).
"""

from collections.abc import Sequence

import numpy as np

from loragrid.comparing.draws import PERMUTATIONS, Draws
from loragrid.comparing.measure import NOISE, Measure, of_all, without_noise

Pairs = Sequence[tuple[np.ndarray, np.ndarray]]
"""Systems that are swapped with one another, each with statistics summed by dialogue, shape (dialogues, statistics).
The difference is the mean over the pairs, and a dialogue is swapped in all of them together."""

_CLEAR = 50
"""A p-value above 50 in `PERMUTATIONS` is not refined by more. This keeps the test valid (compare Besag and Clifford
1991): to be refined at all, it has to be below what it would be without."""

_PAIRS_AT_ONCE = 64


def p_values(measure: Measure, differences: Sequence[Pairs], draws: Draws) -> list[float]:
    """Two-sided p-values of differences.

    Args:
        measure: the metric.
        differences: each the mean over one or more pairs.
        draws: draws over the dialogues.

    Returns:
        One for each. Meaningless where the metric is undefined.
    """
    first = draws.permutations if draws.exact else PERMUTATIONS
    extreme = _count(measure, differences, draws, 0, first)
    numbers = np.full(len(differences), first)
    unclear = np.flatnonzero(extreme <= _CLEAR)
    if first < draws.permutations and len(unclear):
        refined = [differences[int(number)] for number in unclear]
        extreme[unclear] += _count(measure, refined, draws, first, draws.permutations)
        numbers[unclear] = draws.permutations
    p = extreme / numbers if draws.exact else (extreme + 1) / (numbers + 1)
    return [float(value) for value in p]


def _count(measure: Measure, differences: Sequence[Pairs], draws: Draws, first: int, last: int) -> np.ndarray:
    """How many permutations give a difference as large as the observed one, shape (differences,)."""
    extreme = np.zeros(len(differences), dtype=np.int64)
    start = 0
    while start < len(differences):
        stop, pairs = start, 0
        while stop < len(differences) and (stop == start or pairs + len(differences[stop]) <= _PAIRS_AT_ONCE):
            pairs += len(differences[stop])
            stop += 1
        extreme[start:stop] = _count_block(measure, differences[start:stop], draws, first, last)
        start = stop
    return extreme


def _count_block(measure: Measure, block: Sequence[Pairs], draws: Draws, first: int, last: int) -> np.ndarray:
    pairs = [pair for difference in block for pair in difference]
    lengths = np.array([len(difference) for difference in block])
    starts = np.cumsum(lengths) - lengths

    def averaged(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, starts, axis=-1) / lengths

    ones, others = of_all(measure, [pair[0] for pair in pairs]), of_all(measure, [pair[1] for pair in pairs])
    observed = np.abs(without_noise(averaged(ones - others), averaged(np.abs(ones) + np.abs(others))))
    extreme = np.zeros(len(block), dtype=np.int64)
    slices = [_stacked(pairs[at : at + _PAIRS_AT_ONCE]) for at in range(0, len(pairs), _PAIRS_AT_ONCE)]
    for swaps in draws.swaps(first, last):
        swapped = averaged(np.concatenate([_swapped(measure, *part, swaps) for part in slices], axis=1))
        # Not "at least as large": what is undefined counts against a claim.
        extreme += (~(np.abs(swapped) < observed * (1 - NOISE))).sum(axis=0)
    return extreme


def _stacked(pairs: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of both sides, (pairs, statistics), and their difference by dialogue, (dialogues, pairs, statistics)."""
    ones, others = (np.stack([pair[side] for pair in pairs], axis=1) for side in (0, 1))
    return ones.sum(axis=0), others.sum(axis=0), ones - others


def _swapped(
    measure: Measure, ones: np.ndarray, others: np.ndarray, difference: np.ndarray, swaps: np.ndarray
) -> np.ndarray:
    """Differences of the values after swaps, shape (draws, pairs)."""
    dialogues, pairs, statistics = difference.shape
    moved = (swaps @ difference.reshape(dialogues, pairs * statistics)).reshape(-1, pairs, statistics)
    with np.errstate(all="ignore"):
        return measure.value(ones - moved) - measure.value(others + moved)
