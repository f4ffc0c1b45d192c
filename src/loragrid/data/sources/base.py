"""What every dataset source shares: where it is downloaded from, and how big it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field, model_validator

from loragrid.data.drops import Drops
from loragrid.data.records import Record
from loragrid.study.choices import Choice


class RemoteFile(BaseModel, extra="forbid"):
    """A file on a web server, told by its hash."""

    url: str = Field(description="Address, https:// (or http:// on this machine).")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file.")
    bytes: int | None = Field(default=None, description="Size, where it is known.")
    name: str = Field(pattern=r"^[\w][\w.-]*$", description="Name under which the file is kept.")
    members: list[str] = Field(default=[], description="For a tar.gz: the members to unpack instead of keeping it.")


class HubDataset(BaseModel, extra="forbid"):
    """A dataset repository on the Hugging Face hub, of which files are taken as they are: no code of it is run."""

    id: str = Field(description="Repository, e.g. `Salesforce/dialogstudio`.")
    revision: str = Field(default="main", description="Commit, tag or branch; a commit makes a study repeatable.")
    files: list[str] = Field(min_length=1, description="Patterns of the files to take; `*` also matches `/`.")


class Remote(BaseModel, extra="forbid"):
    """Where a download comes from: files on web servers or a hub repository."""

    files: list[RemoteFile] = Field(default=[], description="Files on web servers.")
    hub: HubDataset | None = Field(default=None, description="Repository on the Hugging Face hub.")

    @model_validator(mode="after")
    def _one_origin(self) -> "Remote":
        if bool(self.files) == (self.hub is not None):
            raise ValueError("give either `files` or `hub`")
        return self


@dataclass(frozen=True)
class Size:
    """Approximate size of a cleaned dataset, for planning before anything is downloaded.

    Args:
        rows: records in each split; `all` for a dataset without splits.
        tokens: mean tokens of a record.
    """

    rows: dict[str, int]
    tokens: int


class NoOptions(BaseModel, extra="forbid", frozen=True):
    """A source of which a study has nothing more to say."""


class Source(Protocol):
    """What a module in this package defines, beside a docstring that describes the original format.

    A module may also define `SOURCE`, an object that has all of it, where several sources share how they read. One of
    questions with choices may define `WORDING`, how they are put in its language, and `CATEGORIES`, subjects by name.
    """

    VERSION: int
    """Raised when the same files come to make other records: what was cleaned is then cleaned anew."""

    LICENCE: str
    HOMEPAGE: str
    REMOTE: Remote | None
    """Where its files come from; None where a study says it, or gives its own files."""

    SIZE: Size
    KIND: type[Record] | None
    """What its records are; None where a study's files say it."""

    STEPS: list[Choice]
    """Cleaning steps of a study that does not choose its own."""

    FORMAT: Choice | None
    """Format of a study that does not choose another; None for the usual one of what its records are."""

    FACETS: tuple[str, ...]
    """Names in `meta` whose values statistics.json counts, e.g. emotions."""

    Options: type[BaseModel]
    """What a study may say of it, as further keys of a dataset."""

    def read(self, folder: Path, options: Any, drops: Drops) -> Iterator[tuple[str, Record]]:
        """Read the original format, and change nothing in it: that is for steps.

        Args:
            folder: the raw files.
            options: a checked instance of the module's `Options`.
            drops: counts raw rows and what is dropped of them.

        Yields:
            A split (train, validation, test, or `all` where the dataset has none) and a record.

        Raises:
            UserError: the folder does not hold this format.
        """
        ...


class TableSource(Source, Protocol):
    """A source of a user's own files, of which only these show what they hold."""

    def remote(self, options: Any) -> Remote | None:
        """Where its files come from, if a study's options say it."""
        ...

    def slug(self, options: Any, path: Path | None) -> str:
        """What to call its data in names of folders: something that says more than the kind of file."""
        ...

    def kind(self, options: Any, path: Path | None) -> type[Record]:
        """What the records of a study's files are, from its options or the first row.

        Args:
            options: a checked instance of the module's `Options`.
            path: local file or folder, if the study has it.

        Raises:
            UserError: the options do not say it, and the files do not either.
        """
        ...
