"""The short form of the comparison: what fits a page or a terminal."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from loragrid.reporting.columns import Column, Table, TableRow, of_metric
from loragrid.reporting.overview import Overview

OTHERS = 2
"""Metrics that are shown beside the headline."""


def short(overview: Overview, rows: Sequence[TableRow], *, compact: bool = False) -> Table:
    """The headline with its gain, and the first of the other metrics that some of the rows have.

    Args:
        overview: the study.
        rows: rows of the comparison table.
        compact: name runs briefly, as fits a terminal.

    Returns:
        A row that is not done has its reason under `verdict`.
    """
    main = overview.headline
    # An evaluation may have no value of the headline, and of other metrics than the first ones.
    scored = [name for name in overview.metrics if any(row.get(name) is not None for row in rows)]
    has_main = main.name in scored or not scored
    others = [overview.metrics[name] for name in scored if name != main.name and overview.metrics[name].is_brief]
    others = others[: OTHERS if has_main else OTHERS + 1]
    telling = [name for name in ("evaluation", "chat", "data") if len({row.get(name) or "" for row in rows}) > 1]
    loss = Column("validation_loss", "val. loss", "number", higher_is_better=False)
    columns = [
        Column("run", "run", "name"),
        *(Column(name, name) for name in telling),
        *(Column(name, name, "setting") for name in ("rank", "alpha", "scale")),
        Column("trainable_parameters", "params", "count"),
        loss,
        *([_brief(of_metric(main)), Column("gain", "gain")] if has_main else []),
        *(_brief(of_metric(metric)) for metric in others),
        Column("verdict", "verdict", "verdict"),
    ]
    gain = Column("gain", "gain", "difference", main.places)
    shown = [
        {
            **row,
            "run": _brief_name(row) if compact else _full_name(row),
            "validation_loss": loss.shown(row["validation_loss"]) + ("*" if row["best"] else ""),
            "gain": _interval(gain, *(row[f"{main.name}_gain{end}"] for end in ("", "_low", "_high"))),
            "verdict": row["verdict"] if row["status"] == "done" else _reason(row),
        }
        for row in rows
    ]
    return Table(columns, [{column.key: row.get(column.key) for column in columns} for row in shown])


def _interval(column: Column, gain: float | None, low: float | None, high: float | None) -> str:
    """A gain with its interval, such as `+0.120 [0.080, 0.163]`; empty if there is none."""
    if gain is None or math.isnan(gain):
        return ""
    ends = replace(column, kind="number")
    return column.shown(gain) + ("" if low is None else f" [{ends.shown(low)}, {ends.shown(high)}]")


def _brief(column: Column) -> Column:
    return replace(column, title=column.title.replace(" per ", "/"))


def _full_name(row: TableRow) -> str:
    return f"{row['label']} ({row['run']})" if row["label"] else row["run"]


def _brief_name(row: TableRow) -> str:
    """The label with the seed, or the name with the first digits of its key."""
    if row["label"]:
        return f"{row['label']}-s{row['seed']}"
    return re.sub(r"(-[0-9a-f]{4})[0-9a-f]{6}$", r"\1", row["run"])


def _reason(row: TableRow) -> str:
    return row["reason"] if row["reason"].startswith(row["status"]) else f"{row['status']}: {row['reason']}"
