"""How long the rows of one model and dataset are, in tokens, as SVG: from what format.json says of them."""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.comparing.collect import Row
from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.reporting.svg import drawing
from loragrid.study.grid import Formatted, Grid

MOST = 5
"""Formatted datasets that are drawn: more would hide each other."""


WIDTH = 130
"""Characters of a note that fit below the figure."""


@dataclass(frozen=True)
class _Lengths:
    """What is known of a formatted dataset.

    Args:
        formatted: it.
        steps: for each part of rows and each split, shares of bins and the edges between these, in tokens.
        note: on its training rows.
    """

    formatted: Formatted
    steps: dict[tuple[str, str], tuple[list[float], list[int]]]
    note: str


def lengths_figure(title: str, rows: list[Row], grid: Grid) -> str | None:
    """The distribution of row lengths before anything is left out, and where `max_length` cuts it.

    Args:
        title: above the figure.
        rows: of one model × dataset, in the grid's order.
        grid: the study, for the formatted data of the rows' runs.

    Returns:
        SVG; None where no formatted data of these runs is there, or says how long its rows are.
    """
    from matplotlib.ticker import PercentFormatter, ScalarFormatter

    used = dict.fromkeys(row.run.formatted for row in rows if row.run)
    known = [found for id_ in used if id_ in grid.formatted and (found := _read(grid.formatted[id_]))]
    drawn = known[:MOST]
    if not drawn:
        return None
    names = _names([lengths.formatted for lengths in drawn])
    with drawing() as (figure, finished):
        axes = figure.add_subplot()
        axes.set_title(title, parse_math=False)
        axes.set_xlabel("length of a row in tokens, before anything is left out")
        axes.set_ylabel("share of the rows")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        colours: dict[tuple[str, str], str] = {}
        for lengths, name in zip(drawn, names, strict=True):
            for (what, split), (shares, edges) in lengths.steps.items():
                colour = colours.setdefault((name, what), f"C{len(colours) % 10}")
                line = axes.stairs(shares, edges, color=colour, linestyle="-" if split == "train" else ":")
                line.set_label(" · ".join(part for part in (name, what, split) if part).replace("$", r"\$"))
        for limit in dict.fromkeys(lengths.formatted.max_length for lengths in drawn):
            axes.axvline(limit, color="0.35", linestyle="--", linewidth=1)
            axes.annotate(
                f"max_length {limit:,}", (limit, 1), xycoords=("data", "axes fraction"), xytext=(-3, -4),
                textcoords="offset points", rotation=90, ha="right", va="top", fontsize=7, color="0.35",
            )  # fmt: skip
        axes.grid(alpha=0.25)
        figure.legend(fontsize=7, loc="outside right upper")
        notes = [f"{name}: {one.note}" if name else one.note for one, name in zip(drawn, names, strict=True)]
        if len(drawn) < len(used):
            notes.append(f"Not drawn: {len(used) - len(drawn)} of {len(used)} ways in which the data is formatted.")
        lines = "\n".join(textwrap.fill(note, WIDTH) for note in notes)
        figure.supxlabel(lines.replace("$", r"\$"), fontsize=8, color="0.35")
        return finished()


def _read(formatted: Formatted) -> _Lengths | None:
    """What format.json says; None if it is not there (data may be deleted), is damaged, or says nothing of lengths."""
    try:
        splits = read_json(Path(formatted.folder, "format.json"))["splits"]
        steps = {
            (what, split): _steps(histogram)
            for what in splits["train"]["histograms"]
            for split in ("train", "validation")
            if (histogram := splits[split]["histograms"][what])
        }
        return _Lengths(formatted, steps, _note(splits["train"]))
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return None


def _steps(histogram: dict[str, int]) -> tuple[list[float], list[int]]:
    """Shares of adjacent bins and the edges between them, from counts by `first-last`; what is left out is empty."""
    total = sum(histogram.values())
    shares: list[float] = []
    edges: list[int] = []
    for bin_, number in histogram.items():
        first, last = map(int, bin_.split("-"))
        if not edges:
            edges.append(first)
        elif edges[-1] < first:
            shares.append(0)
            edges.append(first)
        shares.append(number / total)
        edges.append(last + 1)
    return shares, edges


def _names(formatted: list[Formatted]) -> list[str]:
    """What tells formatted datasets of one model and dataset apart; empty where there is only one."""
    each = [
        {
            "format": one.format["name"], "chat": f"chat {one.chat['name'] or 'of the model'}",
            "mask": f"mask {one.mask}", "max_length": f"max_length {one.max_length}", "data": one.clean,
        }
        for one in formatted
    ]  # fmt: skip
    differ = [part for part in each[0] if len({parts[part] for parts in each}) > 1]
    return [", ".join(parts[part] for part in differ) for parts in each]


def _note(train: dict[str, Any]) -> str:
    return (
        f"{train['rows']:,} training rows, {train['shortened']:,} of them without their oldest turns; "
        f"{train['too_long']:,} more were too long. Before that, half of all had up to {train['lengths']['50%']:,} "
        f"tokens, the longest {train['longest']:,}."
    )
