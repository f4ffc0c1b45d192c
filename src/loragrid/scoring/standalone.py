"""Score any file of predictions and references, without a study."""

import contextlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from loragrid.errors import UserError
from loragrid.files import parse_jsonl, unreadable
from loragrid.metrics import GROUPS, METRICS
from loragrid.metrics.base import Column, TextMetric, Texts, values_of
from loragrid.study.problems import describe, suggestion


@dataclass(frozen=True)
class Scored:
    """One column over a file.

    Args:
        column: what it is.
        items: what each row contributes, with its `id` and `dialogue`.
        value: NaN where it is undefined.
    """

    column: Column
    items: list[dict[str, Any]]
    value: float


def score_rows(
    file: Path, names: Sequence[str], settings: dict[str, Any]
) -> tuple[Texts, list[Scored], dict[str, dict[str, Any]]]:
    """Score the rows of a file.

    Args:
        file: JSON Lines with `id`, `prediction` and `reference`; rows of one `dialogue` belong together.
        names: metrics, or groups of them.
        settings: of every metric, e.g. `language`.

    Returns:
        The texts, each column of the metrics, and by metric how it was made.

    Raises:
        UserError: a metric is unknown, or a row is not as it must be.
    """
    metrics = _metrics(names)
    about, texts = _read(file)
    scored, made = [], {}
    for metric in metrics:
        options = _options(metric, settings)
        items = [{**row, **item} for row, item in zip(about, metric.items(texts, options), strict=True)]
        values = values_of(metric, texts, options, items)
        scored += [Scored(column, items, values[column.name]) for column in metric.COLUMNS]
        with contextlib.redirect_stdout(sys.stderr):  # its warnings; the result may be printed, and piped
            about_metric = metric.about(texts, options)
        made[metric.__name__.rpartition(".")[2]] = {
            "libraries": {name: version(name) for name in metric.LIBRARIES},
            **about_metric,
        }
    return texts, scored, made


def _options(metric: TextMetric, settings: dict[str, Any]) -> Any:
    try:
        return metric.Options.model_validate(settings)
    except ValidationError as error:
        raise UserError("\n".join(describe(error, metric.Options, settings, metric.TITLE))) from None


def _metrics(names: Sequence[str]) -> list[TextMetric]:
    valid = [name for name, metric in METRICS.items() if metric.PLACE not in ("model", "judge")]
    found: dict[str, TextMetric] = {}
    for name in names:
        if name not in valid and name not in GROUPS:
            there = sorted([*valid, *GROUPS])
            raise UserError(
                f"there is no metric {name!r} of texts.{suggestion(name, there)} Valid: {', '.join(there)}."
            )
        found |= {each: cast(TextMetric, METRICS[each]) for each in GROUPS.get(name, (name,))}
    return list(found.values())


def _read(file: Path) -> tuple[list[dict[str, str]], Texts]:
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise UserError(unreadable(file, error)) from None
    seen: dict[str, int] = {}
    about, answers, references = [], [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        (row,) = parse_jsonl([line], file, first=number)
        where = f"{file}:{number}"
        if not isinstance(row, dict):
            raise UserError(f"{where}: needs an object with id, prediction and reference")
        id_ = _name(row.get("id"))
        if id_ is None:
            raise UserError(f"{where}: needs an 'id', a text or a number")
        if id_ in seen:
            raise UserError(f"{where}: the id {id_!r} is there twice, first in line {seen[id_]}")
        for name in ("prediction", "reference"):
            if not isinstance(row.get(name), str):
                raise UserError(f"{where}: needs {name!r} with a text, not {row.get(name)!r:.60}")
        seen[id_] = number
        about.append({"id": id_, "dialogue": _name(row.get("dialogue")) or id_})
        answers.append(row["prediction"])
        references.append(row["reference"])
    if not about:
        raise UserError(f"{file}: no rows, so there is nothing to score")
    return about, Texts(answers, references)


def _name(value: Any) -> str | None:
    """An id as a text; None for what is none."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return str(value) if isinstance(value, str | int | float) and str(value) else None
