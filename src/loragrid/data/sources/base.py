"""What every dataset source shares: where it is downloaded from, how big it is, and the count of what it drops."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, Field, model_validator

from loragrid.data.records import Record
from loragrid.study.choices import Choice

SPLITS = ("train", "validation", "test")
"""The splits that cleaning writes."""

EXAMPLES = 5
"""Places kept for each reason of a drop: enough to look it up, without listing the dataset."""


MESSAGE = 100
"""Characters of a file that a message quotes at most."""


def shortened(text: str) -> str:
    """No more of a text than a message may quote.

    Args:
        text: from a file.
    """
    return text if len(text) <= MESSAGE else f"{text[: MESSAGE - 2]} …"


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


@dataclass
class Reason:
    """How often something was dropped for one reason, and where the first cases are."""

    count: int = 0
    rows: int = 0
    examples: list[str] = field(default_factory=list)


class Drops:
    """Counts raw rows read and what is dropped of them, so that nothing is lost silently."""

    def __init__(self) -> None:
        self.rows_read: Counter[str] = Counter()
        self.reasons: dict[str, dict[str, Reason]] = {}

    def read(self, split: str, rows: int = 1) -> None:
        """Count raw rows as read.

        Args:
            split: train, validation, test or all.
            rows: how many.
        """
        self.rows_read[split] += rows

    def add(self, reason: str, *, where: str, split: str, rows: int = 1) -> None:
        """Count one thing (a row, a dialogue) as dropped.

        Args:
            reason: why, in plain English; the same words each time, since they are counted.
            where: `file:line`, the file relative to the raw folder.
            split: train, validation, test or all.
            rows: how many raw rows the thing consists of.
        """
        entry = self.reasons.setdefault(split, {}).setdefault(reason, Reason())
        entry.count += 1
        entry.rows += rows
        if len(entry.examples) < EXAMPLES:
            entry.examples.append(where)


class Source(Protocol):
    """What a module in this package defines, beside a docstring that describes the original format."""

    VERSION: int
    """Raised when the same files come to make other records: what was cleaned is then cleaned anew."""

    LICENCE: str
    HOMEPAGE: str
    REMOTE: Remote
    SIZE: Size
    KIND: type[Record]
    """What its records are."""

    STEPS: list[Choice]
    """Cleaning steps of a study that does not choose its own."""

    FORMAT: Choice
    """Format of a study that does not choose another."""

    FACETS: tuple[str, ...]
    """Names in `meta` whose values statistics.json counts, e.g. emotions."""

    Options: type[BaseModel]

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
