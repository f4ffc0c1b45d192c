"""What the sources of a user's own files share: options that say how rows are laid out, and reading them."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from loragrid.data import layouts
from loragrid.data.drops import Drops
from loragrid.data.layouts import LAYOUTS, Unusable, expected, first_line, recognise, renamed
from loragrid.data.records import ChoiceQuestion, Dialogue, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError, shortened
from loragrid.study.choices import Choice

SIZE = Size(rows={"all": 10_000}, tokens=200)
"""Of files that nobody has seen yet."""

STEPS: list[Choice] = ["unicode", "whitespace", "merge_turns", "answered"]

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""Of files on the hub that hold rows."""

NO_PATH = "give the place of your files as `path`"

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
        layout, has_zero, is_beyond = None, False, False
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops, delimiter):
            layout = layout or layout_of(row, options, path)
            meta = {column: _plain(row[column]) for column in options.meta if row.get(column) is not None}
            # Examples and averages of choice questions are by subject.
            if layout == "choice" and isinstance(subject := row.get("subject"), str) and subject:
                meta.setdefault("subject", subject)
            try:
                record = layouts.record(layout, renamed(row, options.columns), where, meta)
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)
                is_beyond = is_beyond or str(problem) == layouts.ONE_TOO_MANY
                continue
            has_zero = has_zero or (isinstance(record, ChoiceQuestion) and record.answer == 0)
            yield split, record
        if is_beyond and not has_zero:
            raise UserError(
                f"{path}: its answers seem to be numbered from 1, since none is the first choice and some are one more "
                "than there are choices; here they count from 0. Give letters, or the texts, or subtract 1"
            )


def _plain(value: Any) -> Any:
    """A value as JSON can hold it; Parquet also has dates."""
    return value.isoformat() if isinstance(value, date) else value


class OwnFiles:
    """A source of a user's own files of rows: what `loragrid.data.sources.base.TableSource` asks for.

    Args:
        suffixes: of the files, without what a compression adds.
        options: how they are laid out.
    """

    VERSION = 1
    LICENCE = "the user's own data"
    HOMEPAGE = ""
    REMOTE = None
    SIZE = SIZE
    KIND = None
    STEPS = STEPS
    FORMAT = None
    FACETS: tuple[str, ...] = ()

    def __init__(self, suffixes: Sequence[str], options: type[OwnOptions] = OwnOptions):
        self.suffixes = suffixes
        self.Options = options

    def remote(self, options: OwnOptions) -> Remote | None:
        """See `TableSource.remote`: a user's own files have no download.

        Raises:
            UserError: always.
        """
        raise UserError(NO_PATH)

    def slug(self, options: OwnOptions, path: Path | None) -> str:
        """See `TableSource.slug`: the name of the file or folder, without its ending."""
        return path.name.split(".")[0] if path else "own"

    def kind(self, options: OwnOptions, path: Path | None) -> type[Record]:
        """See `TableSource.kind`."""
        if path is None:
            raise UserError(NO_PATH)
        return kind_of_rows(options, path, self.suffixes, getattr(options, "delimiter", None))

    def read(self, folder: Path, options: OwnOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
        """See `Source.read`."""
        return read_rows(folder, options, drops, self.suffixes, getattr(options, "delimiter", None))


@dataclass(frozen=True)
class HubRows:
    """A dataset on the hub whose rows are of a known layout: what `loragrid.data.sources.base.Source` asks for.

    Args:
        id: repository.
        licence: as its page says.
        size: of the dataset.
        layout: how its rows are laid out; by default recognised by the columns, which are told if they are unknown.
        kind: what its records are.
        files: patterns of the files to take.
        facets: names in `meta` whose values are counted.
    """

    id: str
    LICENCE: str
    SIZE: Size
    layout: OwnOptions = field(default_factory=OwnOptions)
    KIND: type[Record] = Dialogue
    files: tuple[str, ...] = ("*.parquet", "*.jsonl", "*.json", "*.csv")
    FACETS: tuple[str, ...] = ()
    VERSION: int = 1
    FORMAT: None = None
    Options: type[NoOptions] = NoOptions

    @property
    def HOMEPAGE(self) -> str:
        """Its page."""
        return f"https://huggingface.co/datasets/{self.id}"

    @property
    def REMOTE(self) -> Remote:
        """Where its files come from."""
        return Remote(hub=HubDataset(id=self.id, files=list(self.files)))

    @property
    def STEPS(self) -> list[Choice]:
        """Cleaning steps of a study that does not choose its own."""
        return STEPS

    def read(self, folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
        """See `Source.read`."""
        return read_rows(folder, self.layout, drops, SUFFIXES)
