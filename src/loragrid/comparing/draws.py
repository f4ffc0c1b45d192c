"""The resamples and swaps that all comparisons over the same dialogues share.

Turns of one dialogue resemble one another, so dialogues are resampled and swapped whole. All draws follow from the
dialogues' names: the same scores give the same digits.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

RESAMPLES = 2_000
"""An end of an interval moves by about 3 % of the interval's half width from one set of so many draws to another."""

PERMUTATIONS = 10_000

PERMUTATIONS_PER_COMPARISON = 40
"""The smallest p-value of n permutations is 1/(n+1), and Holm multiplies it by the number of comparisons: in large
tables n grows, so that the product stays below 1/40 and a real difference can still be found."""

_SWAPS_AT_ONCE = 1_000  # in one matrix product
_CELLS_AT_ONCE = 50_000  # resamples × dialogues: what stays in a processor's cache


class Draws:
    """Bootstrap counts and permutations over a list of dialogues.

    Where there are no more ways to swap than there would be draws, all of them are gone through instead.

    Args:
        dialogues: their names, at least two, in the order of the statistics' rows.
        comparisons: how many comparisons the table makes in one metric.
    """

    def __init__(self, dialogues: Sequence[str], comparisons: int = 1):
        self.size = len(dialogues)
        wanted = PERMUTATIONS
        while wanted < PERMUTATIONS_PER_COMPARISON * comparisons:
            wanted *= 2  # in steps, so that a run more or less seldom changes the draws of all the others
        # Swapping the other dialogues instead gives the same difference with the other sign: the first one stays.
        ways = 2 ** (self.size - 1)
        self.exact = ways <= wanted
        self.permutations = ways if self.exact else wanted
        self.key = f"{RESAMPLES} {self.permutations}"
        seed = hashlib.sha256("\n".join(dialogues).encode()).digest()
        random = np.random.default_rng(list(seed))
        # Kept small (two bytes, one bit); the chunks become floats only for their matrix product.
        self._counts = np.empty((RESAMPLES, self.size), dtype=np.uint16)
        self._rows = max(1, _CELLS_AT_ONCE // self.size)
        for start in range(0, RESAMPLES, self._rows):
            rows = min(self._rows, RESAMPLES - start)
            # One count over all rows of the chunk: row i has the numbers from i·size on.
            drawn = random.integers(self.size, size=(rows, self.size)) + np.arange(rows)[:, None] * self.size
            counts = np.bincount(drawn.ravel(), minlength=rows * self.size)
            self._counts[start : start + rows] = counts.reshape(rows, self.size)
        if self.exact:
            numbers = 2 * np.arange(ways, dtype=np.uint32)  # bit 0, the first dialogue, is 0 in all
            self._swaps = numbers.astype("<u4").view(np.uint8).reshape(ways, 4)
        else:
            self._swaps = random.integers(256, size=(wanted, -(-self.size // 8)), dtype=np.uint8)

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that a test can have here, however different two systems are."""
        return 1 / self.permutations if self.exact else 1 / (self.permutations + 1)

    def counts(self) -> Iterator[np.ndarray]:
        """Chunks of the bootstrap: how often each dialogue is drawn, shape (draws, dialogues)."""
        for start in range(0, RESAMPLES, self._rows):
            yield self._counts[start : start + self._rows].astype(np.float64)

    def swaps(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Chunks of the permutations: 1 where a dialogue's answers are swapped, shape (draws, dialogues).

        Args:
            first: number of the first permutation, from 0.
            last: number of the one after the last.
        """
        for start in range(first, last, _SWAPS_AT_ONCE):
            bits = self._swaps[start : min(start + _SWAPS_AT_ONCE, last)]
            yield np.unpackbits(bits, axis=1, count=self.size, bitorder="little").astype(np.float64)


class SharedDraws:
    """One set of draws for each list of dialogues.

    Args:
        comparisons: how many comparisons the table makes in one metric.
    """

    def __init__(self, comparisons: int):
        self._comparisons = comparisons
        self._draws: dict[tuple[str, ...], Draws] = {}

    def over(self, dialogues: tuple[str, ...]) -> Draws | None:
        """The draws over these dialogues; None if there are fewer than two, which allow none."""
        if len(dialogues) < 2:
            return None
        if dialogues not in self._draws:
            self._draws[dialogues] = Draws(dialogues, self._comparisons)
        return self._draws[dialogues]
