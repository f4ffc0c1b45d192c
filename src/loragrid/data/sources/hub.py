"""Any dataset on the Hugging Face hub whose files are JSON Lines, JSON, CSV or Parquet: they are taken as they are."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from loragrid.data.drops import Drops
from loragrid.data.own import SIZE, STEPS, OwnOptions, kind_of_rows, read_rows
from loragrid.data.records import Record
from loragrid.data.sources.base import HubDataset, Remote

__all__ = ["SIZE", "STEPS"]

VERSION = 1
LICENCE = "as its page on the hub says"
HOMEPAGE = "https://huggingface.co/datasets"
REMOTE = None
KIND = None
FORMAT = None
FACETS = ()
SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")


class Options(OwnOptions, extra="forbid", frozen=True):
    """Which files of which repository, and how their rows are laid out."""

    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Repository, e.g. `HumanLLMs/Human-Like-DPO-Dataset`.")
    files: list[str] = Field(
        min_length=1,
        description="Patterns of the files to take, e.g. `[data/train-*.parquet]`; `*` also matches `/`. All are of "
        "one layout.",
    )


def remote(options: Options) -> Remote | None:
    """See `loragrid.data.sources.base.TableSource.remote`."""
    return Remote(hub=HubDataset(id=options.id, files=options.files))


def slug(options: Options, path: Path | None) -> str:
    """The name of the repository."""
    return options.id.rpartition("/")[2]


def kind(options: Options, path: Path | None) -> type[Record]:
    """See `loragrid.data.sources.base.TableSource.kind`."""
    return kind_of_rows(options, path, SUFFIXES, None)


def read(folder: Path, options: Options, drops: Drops) -> Iterator[tuple[str, Record]]:
    """See `loragrid.data.sources.base.Source.read`."""
    return read_rows(folder, options, drops, SUFFIXES)
