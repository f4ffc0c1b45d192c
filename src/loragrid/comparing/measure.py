"""What a comparison needs to know of a metric, and no more."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

NOISE = 1e-9
"""Relative size of a difference that is only rounding, and counts as none."""


class Measure(Protocol):
    """A metric whose value follows from sums over items, so that a resample is one matrix product away from it."""

    @property
    def name(self) -> str:
        """As in score files and tables."""

    @property
    def title(self) -> str:
        """For people."""

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of improvement; None where there is none, as for the length of answers."""

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest value that it can have."""

    @property
    def value(self) -> "Value":
        """Summed statistics → value."""


class Value(Protocol):
    """How sums become a value."""

    def __call__(self, sums: np.ndarray, /) -> np.ndarray:
        """Summed statistics, shape (…, statistics) → values, shape (…); NaN where the metric is undefined."""


def sign(measure: Measure) -> float:
    """The sign that makes a difference above 0 an improvement; 1 where there is no direction."""
    return -1.0 if measure.higher_is_better is False else 1.0


def without_noise(differences: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Differences of values, where those that are only rounding are 0.

    Args:
        differences: any shape.
        sizes: of the values subtracted, the sum of absolute values; same shape.
    """
    return np.where(np.abs(differences) <= NOISE * sizes, 0.0, differences)


def of_all(measure: Measure, systems: Sequence[np.ndarray]) -> np.ndarray:
    """The values of systems over all their dialogues.

    Args:
        measure: the metric.
        systems: of each, statistics summed by dialogue, shape (dialogues, statistics).

    Returns:
        Shape (systems,).
    """
    with np.errstate(all="ignore"):
        return measure.value(np.stack([sums.sum(axis=0) for sums in systems]))
