"""A user's own CSV: a header, then a row each, fields in quotation marks where they need it, also compressed."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

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
SUFFIXES = (".csv", ".tsv")


class Options(OwnOptions, extra="forbid", frozen=True):
    """How rows are laid out."""

    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="What stands between fields; by default `,`, in .tsv a tab."
    )


def remote(options: Options) -> Remote | None:
    """A user's own files have no download.

    Raises:
        UserError: always.
    """
    raise UserError("give the place of your files as `path`")


def slug(options: Options, path: Path | None) -> str:
    """The name of the file or folder, without its ending."""
    return path.name.split(".")[0] if path else "own"


def kind(options: Options, path: Path | None) -> type[Record]:
    """See `loragrid.data.sources.base.TableSource.kind`."""
    if path is None:
        raise UserError("give the place of your files as `path`")
    return kind_of_rows(options, path, SUFFIXES, options.delimiter)


def read(folder: Path, options: Options, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, options, drops, SUFFIXES, options.delimiter)
