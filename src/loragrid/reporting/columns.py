"""What a table is: columns that know how their values are shown, and rows of plain values.

Whoever writes a table (CSV, Markdown, LaTeX, a terminal, a page) asks the columns, and knows none by name.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loragrid.metrics import Column as Metric

TableRow = dict[str, Any]
"""Key of a column → text, number or None."""

Kind = Literal["name", "text", "verdict", "setting", "count", "number", "difference", "share", "probability"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        key: of its values in the rows; its heading in CSV files, which are for programs.
        title: its heading for people.
        kind: of its values. Of a `name` there is one in a table: it says what the row is about.
        places: digits after the decimal point, where there are any.
        higher_is_better: direction of improvement; None where there is none.
        group: what it is about, together with its neighbours.
    """

    key: str
    title: str
    kind: Kind = "text"
    places: int = 3
    higher_is_better: bool | None = None
    group: str = ""

    @property
    def is_text(self) -> bool:
        """Whether its values are read from the left, not compared digit by digit."""
        return self.kind in ("name", "text", "verdict")

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign; empty where there is none."""
        return {True: "↑", False: "↓", None: ""}[self.higher_is_better]

    @property
    def heading(self) -> str:
        """The title and which way is better."""
        return f"{self.title} {self.arrow}".rstrip()

    def shown(self, value: Any) -> str:
        """A value as people like to read it: empty for None and NaN, a text as it is."""
        if value is None or isinstance(value, str | bool):
            return "" if value is None else str(value)
        if isinstance(value, float) and math.isnan(value):
            return ""
        match self.kind:
            case "count":
                return short_count(value)
            case "number":
                return f"{value + 0.0:.{self.places}f}"
            case "difference":
                return f"{value + 0.0:+.{self.places}f}"
            case "share":
                return f"{100 * value:.1f} %"
            case "probability":
                return number(value, 2)
            case _:
                return str(int(value)) if value == math.floor(value) else number(value, 4)


@dataclass(frozen=True)
class Table:
    """Rows that all have the same columns; there may be none.

    Args:
        columns: in the order of CSV files.
        rows: values by the columns' keys.
    """

    columns: Sequence[Column]
    rows: Sequence[TableRow]

    def filled(self) -> "Table":
        """The same without the columns that are empty in every row."""
        return Table([column for column in self.columns if any(full(row[column.key]) for row in self.rows)], self.rows)


def of_metric(metric: Metric, suffix: str = "", *, group: str = "scores") -> Column:
    """A column of a metric's values.

    Args:
        metric: it says how its values are written, and which way is better.
        suffix: what the column has of them, such as `mean`, if not the values themselves.
        group: of the column.
    """
    key = f"{metric.name}_{suffix}" if suffix else metric.name
    title = f"{metric.title}, {suffix}" if suffix else metric.title
    return Column(key, title, "number", metric.places, metric.higher_is_better, group)


def number(value: float, digits: int = 6) -> str:
    """A number with so many significant digits, written the same way everywhere; empty for NaN."""
    if isinstance(value, float) and math.isnan(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value + 0.0:.{digits}g}"  # adding zero makes -0.0 a plain 0


def full(value: Any) -> str:
    """A value of a table as text, as exactly as programs are told it."""
    if value is None:
        return ""
    return number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def short_count(count: int) -> str:
    """A count in at most five characters: 512, 40.9k, 4.19M, 7.24B."""
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
