"""Several comparisons in one table: Holm's correction."""

from collections.abc import Sequence


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
