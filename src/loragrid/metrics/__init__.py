"""Metrics by name: one file each, with everything that is to be said of it (`loragrid.metrics.base`)."""

from collections.abc import Mapping
from typing import Any

from loragrid.metrics import likelihood, rouge, sacrebleu
from loragrid.metrics.base import Column, Metric
from loragrid.study.scores import column_name

METRICS: dict[str, Metric] = {module.__name__.rpartition(".")[2]: module for module in (likelihood, rouge, sacrebleu)}
"""All metrics, in the order of the tables' columns."""

GROUPS: dict[str, tuple[str, ...]] = {}
"""Metrics that go by one name."""


def columns_of(score: Mapping[str, Any]) -> dict[str, Column]:
    """The columns of a score as tables call them, by the name that score files use.

    Args:
        score: `name` of the metric and `label`, which takes the place of the metric's name in those of its columns, or
            goes before them; None for none.
    """
    name, label = score["name"], score.get("label")
    return {
        column.name: column.called(
            column_name(column.name, name, label), f"{column.title} ({label})" if label else column.title
        )
        for column in METRICS[name].COLUMNS
    }


__all__ = ["GROUPS", "METRICS", "Column", "columns_of"]
