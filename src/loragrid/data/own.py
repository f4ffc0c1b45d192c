"""What the sources of a user's own files share: options that say how rows are laid out, and reading them."""

import difflib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from loragrid.data import layouts
from loragrid.data.drops import Drops
from loragrid.data.layouts import LAYOUTS, Unusable, expected, first_line, recognise, renamed
from loragrid.data.records import Record
from loragrid.data.sources.base import Size
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError, shortened
from loragrid.study.choices import Choice

SIZE = Size(rows={"all": 10_000}, tokens=200)
"""Of files that nobody has seen yet."""

STEPS: list[Choice] = ["unicode", "whitespace", "merge_turns", "answered"]

LayoutName = Literal["messages", "sharegpt", "alpaca", "completion", "preference", "choice"]


class OwnOptions(BaseModel, extra="forbid", frozen=True):
    """How rows are laid out."""

    layout: LayoutName | None = Field(
        None,
        description="`messages` (role/content), `sharegpt` (`conversations` with from/value), `alpaca` (instruction, "
        "input, output), `completion` (prompt, completion), `preference` (prompt, chosen, rejected), `choice` "
        "(question, choices or A, B …, answer). Default: recognised by the columns.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="The column of each field that is called otherwise: `{prompt: question, completion: answer}`.",
    )

    @field_validator("columns")
    @classmethod
    def _known(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name not in layouts.FIELDS:
                close = difflib.get_close_matches(name, layouts.FIELDS, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise ValueError(f"there is no field {name!r}{hint} Fields: {', '.join(layouts.FIELDS[:14])}, A, B …")
        return value

    meta: list[str] = Field(default_factory=list, description="Further columns that are kept, e.g. a category.")


def kind_of_rows(
    options: OwnOptions, path: Path | None, suffixes: Sequence[str], delimiter: str | None
) -> type[Record]:
    """What rows become: by the layout that is given, else by the first row of a local file.

    Args:
        options: of the dataset.
        path: local file or folder, if there is one.
        suffixes: of files that hold rows.
        delimiter: of CSV files.

    Raises:
        UserError: nothing says it, or the first row does not have what its layout needs.
    """
    if path is None:
        layout = options.layout or recognise(options.columns)
        if layout is None:
            raise UserError(f"give its `layout` ({', '.join(LAYOUTS)}): before the download nothing else can tell it")
        return LAYOUTS[layout].kind
    file = path if path.is_file() else data_files(path, suffixes)[0][1]
    drops = Drops()
    row = next((row for _, row in rows(file, file.name, "all", drops, delimiter)), None)
    if row is None:
        reasons = ", ".join(f"{reason} ({entry.count})" for reason, entry in drops.reasons.get("all", {}).items())
        raise UserError(f"{file}: no row can be read{f': {reasons}' if reasons else '; it is empty'}")
    return LAYOUTS[layout_of(row, options, file)].kind


def layout_of(row: dict[str, Any], options: OwnOptions, file: Path) -> str:
    """The layout of a row.

    Args:
        row: as it was read.
        options: of the dataset.
        file: that it comes from, for messages.

    Raises:
        UserError: it has not the columns that it should have.
    """
    missing = [column for column in (*options.columns.values(), *options.meta) if column not in row]
    fields = renamed(row, options.columns)
    layout = options.layout or recognise(fields)
    complete = layout is not None and all(any(field in fields for field in group) for group in LAYOUTS[layout].needs)
    if layout is None or missing or not complete:
        wrong = f"no column {', '.join(map(repr, missing))}" if missing else "not the columns of a known layout"
        raise UserError(
            f"{file}: {wrong}\n"
            f"    expected: {expected(layout)}\n"
            f"    found:    {shortened(', '.join(map(str, row)))}\n"
            f"    first row: {first_line(row)}\n"
            "    Say with `columns: {field: column}` what is called otherwise, or name the `layout`."
        )
    return layout


def read_rows(
    folder: Path, options: OwnOptions, drops: Drops, suffixes: Sequence[str], delimiter: str | None = None
) -> Iterator[tuple[str, Record]]:
    """Read files of rows.

    Args:
        folder: the raw files.
        options: how they are laid out; without a layout each file's first row tells its own.
        drops: counts rows and what is dropped of them.
        suffixes: of files that hold rows.
        delimiter: of CSV files.

    Yields:
        Split and record.

    Raises:
        UserError: there is no such file, one cannot be read, or it has not the columns that it should have.
    """
    for split, path in data_files(folder, suffixes):
        layout = None
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops, delimiter):
            layout = layout or layout_of(row, options, path)
            meta = {column: _plain(row[column]) for column in options.meta if row.get(column) is not None}
            try:
                yield split, layouts.record(layout, renamed(row, options.columns), where, meta)
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; Parquet also has dates."""
    return value.isoformat() if isinstance(value, date) else value
