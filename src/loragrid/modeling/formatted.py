"""Formatted rows, as they lie in Arrow files."""

from pathlib import Path

import pyarrow.compute as pc
from datasets import Dataset


def open_rows(file: Path) -> Dataset:
    """The rows of a file, mapped into memory as they are needed."""
    return Dataset.from_file(str(file))


def largest_id(rows: Dataset) -> int:
    """The largest token id of rows, of whatever method they are for."""
    table = rows.data.table
    columns = [name for name in table.column_names if name.endswith("_ids")]
    return max(pc.max(pc.list_flatten(table.column(name))).as_py() for name in columns)
