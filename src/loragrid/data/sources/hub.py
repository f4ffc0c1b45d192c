"""Any dataset on the Hugging Face hub whose files are JSON Lines, JSON, CSV or Parquet: they are taken as they are."""

from pathlib import Path
from typing import cast

from pydantic import Field

from loragrid.data.own import SUFFIXES, OwnFiles, OwnOptions, kind_of_rows
from loragrid.data.records import Record
from loragrid.data.sources.base import HubDataset, Remote


class Options(OwnOptions, extra="forbid", frozen=True):
    """Which files of which repository, and how their rows are laid out."""

    id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Repository, e.g. `HumanLLMs/Human-Like-DPO-Dataset`.")
    files: list[str] = Field(
        min_length=1,
        description="Patterns of the files to take, e.g. `[data/train-*.parquet]`; `*` also matches `/`. All are of "
        "one layout.",
    )


class HubFiles(OwnFiles):
    """Files of a repository that a study names."""

    LICENCE = "as its page on the hub says"
    HOMEPAGE = "https://huggingface.co/datasets"

    def remote(self, options: OwnOptions) -> Remote | None:
        """See `TableSource.remote`."""
        named = cast(Options, options)
        return Remote(hub=HubDataset(id=named.id, files=named.files))

    def slug(self, options: OwnOptions, path: Path | None) -> str:
        """See `TableSource.slug`: the name of the repository."""
        return cast(Options, options).id.rpartition("/")[2]

    def kind(self, options: OwnOptions, path: Path | None) -> type[Record]:
        """See `TableSource.kind`: before the download, only the study's layout or columns can tell it."""
        return kind_of_rows(options, path, self.suffixes, None)


SOURCE = HubFiles(SUFFIXES, Options)
