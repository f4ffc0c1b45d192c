"""TweetSumm (Feigenblat et al. 2021): customer service dialogues on Twitter, and their summaries.

In the layouts in which people have it:

- as converted by DialogStudio: rows with `log` and `original dialog info`, which is an object in the GitHub files,
  keyed by dialogue, and a string that holds JSON in the hub's rows;
- as the original's own program writes it (`get_json()`): rows with `dialog` and `summaries`;
- as published (https://github.com/guyfe/Tweetsumm): annotations with the numbers of tweets, whose text is in twcs.csv
  of https://www.kaggle.com/datasets/thoughtvector/customer-support-on-twitter, which has to lie beside them.

Tweets of one side in a row are one turn, as DialogStudio has it.
"""

import codecs
import csv
import itertools
import json
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.errors import UserError, shortened
from loragrid.files import encoding_of, read_json
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "CC0 1.0 (summaries); the tweets are under Twitter's terms and CC BY-NC-SA 4.0"
HOMEPAGE = "https://github.com/salesforce/DialogStudio"
REMOTE = Remote(hub=HubDataset(id="Salesforce/dialogstudio", files=["*TweetSumm*.json", "*TweetSumm*.zip"]))
SIZE = Size(rows={"train": 879, "validation": 110, "test": 110}, tokens=320)

KIND = Dialogue
STEPS: list[Choice] = [
    "unescape", "unicode", "urls", "mentions", "signatures", {"whitespace": {"within": "flat"}},
]  # fmt: skip
FORMAT: Choice = {
    "summary": {
        "instruction": "Summarise this conversation between a customer and a customer service agent.",
        "user": "Customer",
        "assistant": "Agent",
    }
}
FACETS = ()

SPLIT_OF = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
SPLIT_OF |= {f"final_{name}_tweetsum": split for name, split in SPLIT_OF.items()}

TWEETS = "twcs.csv"
LAYOUTS = "`log` and `original dialog info`, `dialog` and `summaries`, or `tweet_ids_sentence_offset` and `annotations`"


Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """Read the splits' files, or one file without splits.

    Args:
        folder: holds train, validation (or val) and test as .json or .jsonl, at any depth; or one other such file.
        options: none.
        drops: counts raw rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there are no such files, one is not JSON, no row is of a known layout, or the tweets are missing.
    """
    files = _files(folder)
    tweets = _Tweets(folder, files)
    for split, path in files:
        name = path.relative_to(folder).as_posix()
        is_known, columns = False, ""
        for where, row in _rows(path, name, split, drops):
            try:
                record = _record(row, where, tweets)
            except _Unusable as problem:
                drops.add(str(problem), where=where, split=split)
                if str(problem) == UNKNOWN:
                    columns = columns or ", ".join(row)
                else:
                    is_known = True
                continue
            is_known = True
            yield split, record
        if columns and not is_known:
            raise UserError(f"{path}: rows of no known layout; expected {LAYOUTS}; found {shortened(columns)}")


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(
        path
        for path in folder.rglob("*.json*")
        if path.suffix in (".json", ".jsonl") and path.name != "provenance.json" and not path.name.startswith(".")
    )
    found = [(SPLIT_OF[path.stem], path) for path in paths if path.stem in SPLIT_OF]
    if not found and len(paths) == 1:
        return [("all", paths[0])]
    if not found or len({split for split, _ in found}) < len(found):
        names = ", ".join(path.relative_to(folder).as_posix() for path in paths) or "no .json or .jsonl file"
        raise UserError(f"{folder}: expected one train, validation (or val) and test file, or one file; found {names}")
    return sorted(found, key=lambda pair: list(SPLIT_OF.values()).index(pair[0]))


def _rows(path: Path, name: str, split: str, drops: Drops) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place: `file:line`, or `file:number` or `file:dialogue` where a file is one JSON value."""
    values: Iterator[tuple[str, Any]]
    if path.suffix == ".jsonl":
        values = _lines(path, name, split, drops)
    else:
        whole = read_json(path)
        if isinstance(whole, dict):
            # The key is the dialogue's name in the GitHub form, where the rows themselves do not repeat it.
            values = (
                (f"{name}:{key}", {"new dialog id": key, **row} if isinstance(row, dict) else row)
                for key, row in whole.items()
            )
        elif isinstance(whole, list):
            values = ((f"{name}:{number}", row) for number, row in enumerate(whole, start=1))
        else:
            raise UserError(f"{path}: expected an object keyed by dialogue, or a list of rows")
    for where, row in values:
        drops.read(split)
        if isinstance(row, dict):
            yield where, row
        else:
            drops.add("row is not an object", where=where, split=split)


def _lines(path: Path, name: str, split: str, drops: Drops) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                if encoding := encoding_of(line):
                    raise UserError(f"{path}: not valid UTF-8 ({encoding})")
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            try:
                yield f"{name}:{number}", json.loads(line)
            except (ValueError, RecursionError):  # also bad UTF-8
                drops.read(split)
                drops.add("line is not JSON", where=f"{name}:{number}", split=split)


class _Unusable(Exception):
    """Why a row is dropped: the same words each time, since they are counted."""


UNKNOWN = "row of an unknown layout"

Turn = tuple[str, str]
"""Who speaks (Customer or Agent), and what."""

ROLES = {"Customer": "user", "Agent": "assistant"}


def _record(row: dict[str, Any], where: str, tweets: "_Tweets") -> Dialogue:
    name, turns, summaries = _unfold(row, tweets)
    if not summaries:
        raise _Unusable("no abstractive summary")
    messages = [{"role": ROLES[speaker], "content": text} for speaker, text in turns if text.strip()]
    if not messages:
        raise _Unusable("no dialogue")
    return Dialogue(str(name or where), messages, where=where, summaries=summaries)


def _unfold(row: dict[str, Any], tweets: "_Tweets") -> tuple[Any, list[Turn], list[str]]:
    """A dialogue's name, turns and summaries, from whichever layout."""
    if "log" in row:
        info = row.get("original dialog info")
        if isinstance(info, str):
            try:
                info = json.loads(info)
            except (ValueError, RecursionError):
                raise _Unusable("`original dialog info` is not JSON") from None
        name = row.get("new dialog id") or row.get("original dialog id")
        return name, list(_log(row["log"])), _summaries(_part(info, "summaries", "abstractive_summaries"))
    if "dialog" in row and "summaries" in row:
        turns = _joined(_turn(turn) for turn in _list(_part(row, "dialog", "turns")))
        return _part(row, "dialog", "dialog_id"), turns, _summaries(_part(row, "summaries", "abstractive_summaries"))
    if "tweet_ids_sentence_offset" in row:
        turns = _joined(tweets.turn(tweet) for tweet in _list(row["tweet_ids_sentence_offset"]))
        annotations = [_part(annotation, "abstractive") for annotation in _list(row.get("annotations"))]
        return row.get("conversation_id"), turns, _summaries(annotations)
    raise _Unusable(UNKNOWN)


def _part(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _summaries(lists: Any) -> list[str]:
    """All abstractive summaries, each a list of sentences joined; empty ones are left out."""
    joined = [
        " ".join(sentence.strip() for sentence in sentences)
        for sentences in _list(lists)
        if isinstance(sentences, list) and all(isinstance(sentence, str) for sentence in sentences)
    ]
    return [text for text in joined if text.strip()]


def _log(log: Any) -> Iterator[Turn]:
    for turn in _list(log):
        if not isinstance(turn, dict):
            raise _Unusable("a turn is not an object")
        for speaker, key in (("Customer", "user utterance"), ("Agent", "system response")):
            text = turn.get(key)
            if text is not None and not isinstance(text, str):  # NaN, for example
                raise _Unusable(f"`{key}` is not text")
            yield speaker, text or ""


def _turn(turn: Any) -> Turn:
    sentences = _part(turn, "sentences")
    if not isinstance(_part(turn, "is_agent"), bool) or not isinstance(sentences, list):
        raise _Unusable("a turn without `is_agent` and `sentences`")
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise _Unusable("a sentence is not text")
    return "Agent" if turn["is_agent"] else "Customer", " ".join(sentences)


def _joined(turns: Iterator[Turn]) -> list[Turn]:
    """Turns of one side in a row as one."""
    return [
        (speaker, " ".join(text for _, text in same))
        for speaker, same in itertools.groupby(turns, key=operator.itemgetter(0))
    ]


class _Tweets:
    """The tweets that annotations refer to; their file is read once, and only what is needed is kept.

    Args:
        folder: holds twcs.csv, at any depth, if the files are annotations.
        files: the files, by split.

    Raises:
        UserError: it is missing, or has other columns.
    """

    def __init__(self, folder: Path, files: list[tuple[str, Path]]):
        wanted = {number for _, path in files if path.suffix == ".jsonl" for number in _numbers(path)}
        self._tweets: dict[str, tuple[bool, str]] = {}
        if not wanted:
            return
        path = next(iter(sorted(folder.rglob(TWEETS))), None)
        if path is None:
            raise UserError(
                f"{folder}: these annotations hold numbers of tweets only; put {TWEETS} of Kaggle's "
                "thoughtvector/customer-support-on-twitter beside them"
            )
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {"tweet_id", "inbound", "text"} - set(rows.fieldnames or ()):
                found = ", ".join(rows.fieldnames or ()) or "nothing"
                raise UserError(f"{path}: no column {', '.join(sorted(missing))}; found {shortened(found)}")
            for row in rows:
                if row["tweet_id"] in wanted:
                    self._tweets[row["tweet_id"]] = row["inbound"] == "True", row["text"] or ""

    def turn(self, tweet: Any) -> Turn:
        """What one tweet says: its sentences by their places in the text."""
        number, places = _part(tweet, "tweet_id"), _list(_part(tweet, "sentence_offsets"))
        if str(number) not in self._tweets:
            raise _Unusable(f"a tweet that {TWEETS} lacks")
        inbound, text = self._tweets[str(number)]
        spans = [re.fullmatch(r"\[(\d+), ?(\d+)\]", str(place)) for place in places]
        if not all(spans):
            raise _Unusable("a sentence's place is not of the form [0, 12]")
        return "Customer" if inbound else "Agent", " ".join(text[int(span[1]) : int(span[2])] for span in spans if span)


def _numbers(path: Path) -> Iterator[str]:
    """Numbers of the tweets that a file of annotations refers to; none for another layout."""
    with path.open("rb") as file:
        for line in file:
            if b"tweet_ids_sentence_offset" not in line:
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # counted when it is read
            for tweet in _list(_part(row, "tweet_ids_sentence_offset")):
                yield str(_part(tweet, "tweet_id"))
