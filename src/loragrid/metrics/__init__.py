"""Metrics by name: one file each, with everything that is to be said of it (`loragrid.metrics.base`)."""

from collections.abc import Mapping
from typing import Any, cast

from pydantic import ValidationError

from loragrid.errors import UserError
from loragrid.metrics import (
    accuracy,
    bertscore,
    bleu2,
    chrf,
    distinct,
    exact_match,
    judge,
    length,
    likelihood,
    meteor,
    nltk_bleu,
    rouge,
    sacrebleu,
)
from loragrid.metrics.base import Column, Metric, TextMetric
from loragrid.study.problems import describe
from loragrid.study.scores import column_name, columns_with

_MODULES = (
    likelihood, accuracy, rouge, sacrebleu, nltk_bleu, bleu2, chrf, meteor, bertscore, exact_match, distinct, length,
    judge,
)  # fmt: skip

METRICS: dict[str, Metric] = {module.__name__.rpartition(".")[2]: module for module in _MODULES}
"""All metrics, in the order of the tables' columns."""

COLUMNS: dict[str, Column] = {column.name: column for metric in METRICS.values() for column in metric.COLUMNS}
"""The columns of all metrics, without labels, by name."""

GROUPS: dict[str, tuple[str, ...]] = {"bleu": ("sacrebleu", "nltk_bleu", "bleu2")}
"""Metrics that go by one name."""


def columns_of(score: Mapping[str, Any]) -> dict[str, Column]:
    """The columns of a score as tables call them, by the name that score files use.

    Args:
        score: `name` of the metric, `options` that differ from their defaults, and `label`, which takes the place of
            the metric's name in those of its columns, or goes before them; None for none.
    """
    name, label = score["name"], score.get("label")
    return {
        column.name: column.called(
            column_name(column.name, name, label), f"{column.title} ({label})" if label else column.title
        )
        for column in columns_with(METRICS[name], score.get("options", {}))
    }


def as_evaluate(name: str, **settings: Any) -> Any:
    """A metric of texts as an `evaluate.Metric`: `as_evaluate("rouge").compute(predictions=…, references=…)`.

    Args:
        name: of the metric.
        settings: of the metric, as in a study.

    Raises:
        UserError: there is no such metric of texts, or it has no such setting.
    """
    from loragrid.metrics.as_evaluate import adapter

    valid = [each for each, metric in METRICS.items() if metric.PLACE not in ("model", "judge")]
    if name not in valid:
        raise UserError(f"there is no metric {name!r} of texts; there are: {', '.join(valid)}")
    metric = METRICS[name]
    try:
        options = metric.Options.model_validate(settings)
    except ValidationError as error:
        raise UserError("\n".join(describe(error, metric.Options, settings, name))) from None
    return adapter(name, cast(TextMetric, metric), options)


__all__ = ["COLUMNS", "GROUPS", "METRICS", "Column", "as_evaluate", "columns_of"]
