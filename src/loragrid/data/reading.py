"""Files of rows that a source makes records of, one by one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable, first_line
from loragrid.data.records import Record
from loragrid.data.tables import Row, data_files, rows
from loragrid.errors import UserError


def read_files(
    folder: Path,
    suffixes: Sequence[str],
    drops: Drops,
    make: Callable[[Row, str, Path], Record],
    *,
    knows: Callable[[Row], bool],
    expected: str,
) -> Iterator[tuple[str, Record]]:
    """Read the files of a folder.

    Args:
        folder: holds train, validation and test, or files without splits.
        suffixes: of the files.
        drops: counts rows and what is dropped of them.
        make: from a row, its place and its file (relative to the folder) to a record; `Unusable` says what is wrong.
        knows: whether a row is of the layout that is read: the first of each file has to be.
        expected: what it needs, for the message.

    Yields:
        Split and record.

    Raises:
        UserError: there is no such file, one cannot be read, or its first row is of another layout.
    """
    for split, path in data_files(folder, suffixes):
        name, is_first = path.relative_to(folder), True
        for where, row in rows(path, name.as_posix(), split, drops):
            if is_first and not knows(row):
                raise UserError(f"{path}: expected rows with {expected}; found {first_line(row)}")
            is_first = False
            try:
                yield split, make(row, where, name)
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)
