"""EmpatheticDialogues (Rashkin et al. 2019) in its official format.

The files look like CSV but are not quoted: the official readers split each line at "," and then turn `_comma_` into
",". A raw `"` is text, so that a CSV parser loses rows. Rows of valid.csv and test.csv may have a ninth, unnamed
field of candidate answers.

Also in the form that Kaggle has (atharvjairath/empathetic-dialogues-facebook-ai): one quoted CSV without splits, a row
for each question and its answer, in which the rows of one dialogue follow each other.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from pydantic import BaseModel, Field

from loragrid.data.drops import Drops
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import Remote, RemoteFile, Size
from loragrid.data.tables import rows
from loragrid.errors import UserError, shortened
from loragrid.files import encoding_of
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "CC BY-NC 4.0"
HOMEPAGE = "https://github.com/facebookresearch/EmpatheticDialogues"
REMOTE = Remote(
    files=[
        RemoteFile(
            url="https://dl.fbaipublicfiles.com/parlai/empatheticdialogues/empatheticdialogues.tar.gz",
            sha256="56f234d77b7dd1f005fd365bb17769cfe346c3c84295b69bc069c8ccb83be03d",
            bytes=28_022_709,
            name="empatheticdialogues.tar.gz",
            members=[f"empatheticdialogues/{split}.csv" for split in ("train", "valid", "test")],
        )
    ]
)
SIZE = Size(rows={"train": 19_500, "validation": 2_770, "test": 2_540}, tokens=100)

KIND = Dialogue
# Written by people in one line each: a blank more or less in it means nothing.
STEPS: list[Choice] = ["unicode", {"whitespace": {"within": "single"}}, "merge_turns", "answered"]
FORMAT: Choice = "chat"
FACETS = ("emotion",)

FILES = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}
KAGGLE = "emotion-emotion_69k.csv"
KAGGLE_COLUMNS = ("Situation", "emotion", "empathetic_dialogues", "labels")
WRAPPED = re.compile(r"\s*Customer\s*:(.*?)(?:\n\s*Agent\s*:\s*)?", re.S)
"""What Kaggle's file has around a question."""

EMOTIONS = {
    "afraid", "angry", "annoyed", "anticipating", "anxious", "apprehensive", "ashamed", "caring", "confident",
    "content", "devastated", "disappointed", "disgusted", "embarrassed", "excited", "faithful", "furious", "grateful",
    "guilty", "hopeful", "impressed", "jealous", "joyful", "lonely", "nostalgic", "prepared", "proud", "sad",
    "sentimental", "surprised", "terrified", "trusting",
}  # fmt: skip
"""All that there are (table 1 of the paper): a row with another has its fields out of place."""

RATINGS = 5
"""Parts of `selfeval`, as in `5|5|5_2|2|5`."""

COLUMNS = ("conv_id", "utterance_idx", "context", "prompt", "speaker_idx", "utterance", "selfeval", "tags")


class Options(BaseModel, extra="forbid", frozen=True):
    """How EmpatheticDialogues is read."""

    reader: Literal["official", "pandas"] = Field(
        "official",
        description="`pandas`: as a study did that took the files for quoted CSV and skipped what then does not fit. "
        "Each row it gets is a record of one turn, `_comma_` and all; for comparison only.",
    )


class Turn(NamedTuple):
    """One line of a file: what one person says once."""

    where: str
    conversation: str
    number: int
    emotion: str
    situation: str
    text: str


def read(folder: Path, options: Options, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """Read train.csv, valid.csv and test.csv, as many of them as there are.

    Args:
        folder: the folder with the files, or with the archive's folder `empatheticdialogues`.
        options: which reader.
        drops: counts raw rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there is none of the files, or a column is missing.
    """
    if kaggle := sorted(folder.rglob(KAGGLE)):
        yield from (("all", record) for record in _kaggle(kaggle[0], drops))
        return
    nested = folder / "empatheticdialogues"
    files = {
        split: place / name for split, name in FILES.items() for place in (nested, folder) if (place / name).exists()
    }
    if not files:
        found = ", ".join(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else "no folder"
        raise UserError(f"{folder}: expected {', '.join(FILES.values())} or {KAGGLE}; found {found or 'nothing'}")
    for split, path in files.items():
        if options.reader == "pandas":
            yield from ((split, record) for record in _rows_of_pandas(path, path.name, split, drops))
            continue
        turns = _turns(path, path.relative_to(folder).as_posix(), split, drops)
        yield from ((split, record) for record in _conversations(turns, split, drops))


def _turns(path: Path, name: str, split: str, drops: Drops) -> Iterator[Turn]:
    """The readable lines of a file; the others are counted."""
    with path.open("rb") as file:
        lines = _lines(file)
        first = next(lines, b"")
        if encoding := encoding_of(first):
            raise UserError(f"{path}: not valid UTF-8 ({encoding})")
        header = first.decode("utf-8-sig", errors="replace").split(",")
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise UserError(
                f"{path}: no column {', '.join(missing)}\n"
                f"  expected: {','.join(COLUMNS)}\n"
                f"  found:    {shortened(','.join(header))}\n"
                "  This source reads the official files, not a spreadsheet's or another site's form of them."
            )
        places = [header.index(column) for column in COLUMNS]
        for line_number, raw in enumerate(lines, start=2):
            where = f"{name}:{line_number}"
            if not raw:
                continue
            drops.read(split)
            try:
                fields = raw.decode("utf-8").split(",")
            except UnicodeDecodeError:
                drops.add("not valid UTF-8", where=where, split=split)
                continue
            if len(fields) - len(header) not in ((0,) if split == "train" else (0, 1)):
                drops.add(f"wrong number of fields{_spreadsheet(raw)}", where=where, split=split)
                continue
            conversation, number, emotion, situation, _, text, ratings, _ = (fields[place] for place in places)
            if not conversation:
                drops.add("no conv_id", where=where, split=split)
                continue
            if not number.isdecimal():
                drops.add("turn number is not a number", where=where, split=split)
                continue
            if ratings and ratings.count("|") != RATINGS - 1:
                drops.add(f"selfeval is no rating: fields out of place{_spreadsheet(raw)}", where=where, split=split)
                continue
            yield Turn(where, conversation, int(number), emotion, _commas(situation), _commas(text))


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines without their ends, which are LF, CR LF or, if already the first is so, CR."""
    ends_with_cr = None
    # A binary file ends its lines at \n only; text may hold other characters that Python takes for line ends.
    for line in file:
        line = line.rstrip(b"\r\n")
        if ends_with_cr is None:
            ends_with_cr = b"\r" in line
        yield from line.split(b"\r") if ends_with_cr else (line,)


def _spreadsheet(raw: bytes) -> str:
    """Whether a line has fields in quotation marks, which the official files never have."""
    return " (quoted, as a spreadsheet saves it)" if re.search(rb'(?:^|,)"[^"]*(?:""[^"]*)*"(?:,|$)', raw) else ""


def _commas(text: str) -> str:
    return text.replace("_comma_", ",").strip()


def _conversations(turns: Iterator[Turn], split: str, drops: Drops) -> Iterator[Dialogue]:
    """Dialogues of which no turn is missing, in the order of their first lines."""
    conversations: dict[str, dict[int, Turn]] = {}
    for turn in turns:
        kept = conversations.setdefault(turn.conversation, {}).setdefault(turn.number, turn)
        if kept is not turn:
            same = kept[1:] == turn[1:]
            reason = "row given twice" if same else "another row for the same turn of the same conversation"
            drops.add(reason, where=turn.where, split=split)
    for name, by_number in conversations.items():
        ordered = [by_number[number] for number in sorted(by_number)]
        first = ordered[0]
        if [turn.number for turn in ordered] != list(range(1, len(ordered) + 1)):
            drops.add("broken conversation: a turn is missing", where=first.where, split=split, rows=len(ordered))
            continue
        # Odd turns belong to the person with the experience; speaker_idx is a worker's number and says nothing.
        messages = [{"role": "user" if turn.number % 2 else "assistant", "content": turn.text} for turn in ordered]
        meta = {"emotion": first.emotion, "situation": first.situation}
        yield Dialogue(name, messages, meta, first.where, len(ordered))


def _rows_of_pandas(path: Path, name: str, split: str, drops: Drops) -> Iterator[Dialogue]:
    """What `pandas.read_csv(path, quotechar='"', escapechar="\\\\", on_bad_lines="skip")` makes of a file."""
    import pandas

    with path.open("rb") as file:
        drops.read(split, sum(1 for line in file if line.strip()) - 1)
    # Bytes that are no UTF-8 come through as what no text has, so that their row alone is dropped, and counted.
    table = pandas.read_csv(
        path,
        quotechar='"',
        escapechar="\\",
        on_bad_lines="skip",
        index_col=False,
        dtype=object,
        encoding_errors="surrogateescape",
    )
    number = 0
    for number, row in enumerate(table.itertuples(index=False), start=1):
        where = f"{name}:row {number}"
        if not isinstance(row.utterance, str) or not isinstance(row.context, str):
            drops.add("a field is empty", where=where, split=split)
            continue
        message = {"role": "assistant", "content": row.utterance}
        yield Dialogue(f"{row.conv_id}:{row.utterance_idx}", [message], {"emotion": row.context}, where)
    if lost := drops.rows_read[split] - number:
        drops.add("lost by this reader (skipped, or joined with the row before)", where=name, split=split, rows=lost)


def _kaggle(path: Path, drops: Drops) -> Iterator[Dialogue]:
    """Dialogues of Kaggle's file: rows with one emotion and situation that follow each other."""
    before: Dialogue | None = None
    for where, row in rows(path, path.name, "all", drops):
        if missing := [column for column in KAGGLE_COLUMNS if column not in row]:
            raise UserError(f"{path}: no column {', '.join(missing)}; found {shortened(', '.join(map(str, row)))}")
        situation, emotion, asked, answer = (str(row[column]) for column in KAGGLE_COLUMNS)
        question = WRAPPED.fullmatch(asked)
        if emotion.strip() not in EMOTIONS or question is None:
            drops.add("fields out of place", where=where, split="all")
            continue
        meta = {"emotion": emotion.strip(), "situation": _commas(situation)}
        turns = [{"role": "user", "content": _commas(question[1])}, {"role": "assistant", "content": _commas(answer)}]
        if before is not None and before.meta == meta:
            before = replace(before, messages=[*before.messages, *turns], rows=before.rows + 1)
            continue
        if before is not None:
            yield before
        before = Dialogue(where, turns, meta, where)
    if before is not None:
        yield before
