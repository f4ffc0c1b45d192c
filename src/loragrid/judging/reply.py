"""What a judge says, read strictly: it is the JSON that was asked for, or it is unreadable; nothing is guessed."""

import json
import math
from typing import Any

from loragrid.metrics.rubric import BETTER, Rubric

VERDICTS = ("A", "B", "tie")

Values = dict[str, float | str]
"""By criterion: a number, or which answer is better."""


def values_in(text: str, rubric: Rubric) -> Values | None:
    """The values in a reply.

    Servers without support for JSON schemas put words or a fence around the object, so it may stand among words, if it
    is the only one there.

    Args:
        text: as the judge wrote it.
        rubric: says which values there are.

    Returns:
        A value for each criterion; None if the text is anything else.
    """
    start = text.find("{")
    if start < 0:
        return None
    try:
        found, end = json.JSONDecoder(object_pairs_hook=_without_repeats).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if "{" in text[end:] or not isinstance(found, dict) or set(found) != set(rubric.names):
        return None
    return found if all(_is_valid(value, rubric) for value in found.values()) else None


def _is_valid(value: Any, rubric: Rubric) -> bool:
    if rubric.is_pairwise:
        return value in VERDICTS
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and rubric.minimum <= value <= rubric.maximum
    )


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def points(values: Values, swapped: bool) -> dict[str, float]:
    """Values as numbers, of two answers that of the one which is judged: 1 if it is better, 0 if the other is.

    Args:
        values: as `values_in` found them.
        swapped: whether the answer that is judged was shown as B.
    """
    if BETTER not in values:
        return {name: float(value) for name, value in values.items()}
    if values[BETTER] == "tie":
        return {BETTER: 0.5}
    return {BETTER: float((values[BETTER] == "B") == swapped)}
