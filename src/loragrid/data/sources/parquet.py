"""A user's own Parquet files."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.data.drops import Drops
from loragrid.data.own import SIZE, STEPS, OwnOptions, kind_of_rows, read_rows
from loragrid.data.records import Record
from loragrid.data.sources.base import Remote
from loragrid.errors import UserError

__all__ = ["SIZE", "STEPS"]

VERSION = 1
LICENCE = "the user's own data"
HOMEPAGE = ""
REMOTE = None
KIND = None
FORMAT = None
FACETS = ()
SUFFIXES = (".parquet",)

Options = OwnOptions


def remote(options: OwnOptions) -> Remote | None:
    """A user's own files have no download.

    Raises:
        UserError: always.
    """
    raise UserError("give the place of your files as `path`")


def slug(options: OwnOptions, path: Path | None) -> str:
    """The name of the file or folder, without its ending."""
    return path.name.split(".")[0] if path else "own"


def kind(options: OwnOptions, path: Path | None) -> type[Record]:
    """See `loragrid.data.sources.base.TableSource.kind`."""
    if path is None:
        raise UserError("give the place of your files as `path`")
    return kind_of_rows(options, path, SUFFIXES, None)


def read(folder: Path, options: OwnOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, options, drops, SUFFIXES)
