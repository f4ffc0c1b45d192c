"""The comparison as one page: what stands on it, as plain data for its template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from loragrid.pages.render import render
from loragrid.reporting.columns import Column, Table, full
from loragrid.study.grid import Grid


@dataclass(frozen=True)
class Section:
    """What is said of one model × dataset.

    Args:
        title: above it.
        sentences: what won, and what to know of it.
        links: paths from the page, by what they lead to.
    """

    title: str
    sentences: Sequence[str]
    links: Mapping[str, str]


def comparison_page(
    grid: Grid,
    sections: Sequence[Section],
    comparison: Table,
    effects: Table,
    seeds: Table,
    notes: Sequence[str],
    files: Sequence[str],
) -> str:
    """The page of a study.

    Args:
        grid: the study.
        sections: for each model × dataset.
        comparison: of all rows.
        effects: what the axes of the grid do; without rows where nothing varies.
        seeds: the table over seeds; without rows if the study has one seed.
        notes: how to read the comparison.
        files: paths of the other tables.
    """
    return render(
        "comparison",
        scripts=["sort.js"],
        title=grid.title,
        description=[text for text in grid.description.strip().split("\n\n") if text],
        sections=sections,
        comparison=_for_page(comparison),
        effects=_for_page(effects) if effects.rows else None,
        seeds=_for_page(seeds) if seeds.rows else None,
        notes=notes,
        files={file: file for file in files},
    )


def _for_page(table: Table) -> dict[str, Any]:
    """A table with the name of its rows first, under the headings of its groups, without columns that are empty."""
    columns = sorted(table.filled().columns, key=lambda column: column.kind != "name")  # stable
    return {
        "groups": [
            {"title": title, "span": len(list(members))}
            for title, members in groupby(columns, key=lambda column: column.group)
        ],
        "headings": [
            {
                "title": column.title,
                "arrow": column.arrow,
                "meaning": "higher is better" if column.higher_is_better else "lower is better",
                "kind": _kind(column, next((row[column.key] for row in table.rows if full(row[column.key])), None)),
            }
            for column in columns
        ],
        "rows": [
            {
                "kind": " ".join([str(row.get("status", "done")), *(["best"] if row.get("best") else [])]),
                "cells": [
                    {
                        "text": column.shown(row[column.key]),
                        "sort": full(row[column.key]),
                        "kind": (row[column.key] or "") if column.kind == "verdict" else _kind(column, row[column.key]),
                    }
                    for column in columns
                ],
            }
            for row in table.rows
        ],
    }


def _kind(column: Column, value: Any) -> str:
    """How a cell looks; texts among settings are read from the left."""
    if column.kind == "name":
        return "name"
    return "" if column.is_text or isinstance(value, str) else "number"
