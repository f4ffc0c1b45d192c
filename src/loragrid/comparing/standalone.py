"""The values of any scored file with their intervals, without a study."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loragrid.comparing.draws import Draws
from loragrid.comparing.interval import bootstrap, within
from loragrid.metrics.base import Texts
from loragrid.scoring.standalone import Scored


def with_intervals(texts: Texts, scored: Sequence[Scored], made: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What was scored, for people and programs.

    Args:
        texts: the predictions and references.
        scored: each column.
        made: how each metric was made.

    Returns:
        `items`, their number; `empty`, how many predictions have no text, and `empty_references`; how each metric was
        `made`; and by column in `metrics` its `value` and the ends `low` and `high` of its 95 % interval over rows, or
        over dialogues where rows name theirs. None where there is no number: a value that is undefined, an interval of
        one row or of a value of the whole sample.
    """
    draws: dict[tuple[str, ...], Draws] = {}
    metrics = {}
    for each in scored:
        interval: tuple[float, float] | None = None
        names, position = np.unique([item["dialogue"] for item in each.items], return_inverse=True)
        if each.column.statistics is not None and len(names) > 1 and math.isfinite(each.value):
            statistics = each.column.statistics(each.items)
            sums = np.zeros((len(names), statistics.shape[1]))
            np.add.at(sums, position, statistics)
            dialogues = tuple(map(str, names))
            if dialogues not in draws:
                draws[dialogues] = Draws(dialogues)
            (found,) = bootstrap(each.column, [sums], [{0: 1.0}], draws[dialogues])
            interval = within(each.column, found)
        low, high = map(_number, interval) if interval else (None, None)
        metrics[each.column.name] = {"value": _number(each.value), "low": low, "high": high}
    empty, unanswerable = (sum(not text.strip() for text in each) for each in (texts.answers, texts.references))
    return {
        "items": len(texts.answers),
        "empty": empty,
        "empty_references": unanswerable,
        "metrics": metrics,
        "made": made,
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
