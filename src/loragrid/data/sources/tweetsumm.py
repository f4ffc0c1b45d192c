"""TweetSumm (Feigenblat et al. 2021) as converted by DialogStudio: customer service dialogues and their summaries.

Two forms are read. In the GitHub files a file is an object keyed by dialogue, and `original dialog info` an object; in
the hub's rows `original dialog info` is a string that holds JSON.
"""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from loragrid.data.sources.base import Drops, HubDataset, Remote, Size
from loragrid.errors import UserError
from loragrid.files import read_json

NAME = "tweetsumm"
LICENCE = "CC0 1.0 (summaries); the tweets are under Twitter's terms and CC BY-NC-SA 4.0"
HOMEPAGE = "https://github.com/salesforce/DialogStudio"
REMOTE = Remote(hub=HubDataset(id="Salesforce/dialogstudio", files=["*TweetSumm*.json", "*TweetSumm*.zip"]))
SIZE = Size(rows={"train": 879, "validation": 110, "test": 110}, tokens=320)

SPLIT_OF = {"train": "train", "validation": "validation", "val": "validation", "valid": "validation", "test": "test"}
NOISE = {
    # The last character of an address is not the full stop of the sentence around it.
    "urls": re.compile(r"(?:https?://|www\.)\S*[^\s.,;:!?)\]'\"…]"),
    "mentions": re.compile(r"(?<![\w@])\.?@\w+:?"),
    "signatures": re.compile(r"(?<!\w)\^[A-Za-z]{1,20}\b"),
}


class Options(BaseModel, extra="forbid"):
    """Cleaning options of TweetSumm."""

    instruction: str = Field(
        "Summarise this conversation between a customer and a customer service agent.",
        min_length=1,
        description="What the user asks for, above the dialogue.",
    )
    remove: list[Literal["urls", "mentions", "signatures"]] = Field(
        ["urls", "mentions", "signatures"],
        description="What is taken out of the tweets: addresses, `@user` names, agents' signatures such as `^SH`.",
    )


def read(folder: Path, options: Options, drops: Drops) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the splits' files, or one file without splits.

    Args:
        folder: holds train, validation (or val) and test as .json or .jsonl, at any depth; or one other such file.
        options: cleaning options.
        drops: counts raw rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there are no such files, or one is not JSON.
    """
    for split, path in _files(folder):
        name = path.relative_to(folder).as_posix()
        for where, row in _rows(path, name, split, drops):
            record = _record(row, where, split, options, drops)
            if record is not None:
                yield split, record


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
            if not line.strip():
                continue
            try:
                yield f"{name}:{number}", json.loads(line)
            except ValueError:  # also bad UTF-8
                drops.read(split)
                drops.add("line is not JSON", where=f"{name}:{number}", split=split)


def _record(row: dict[str, Any], where: str, split: str, options: Options, drops: Drops) -> dict[str, Any] | None:
    info = row.get("original dialog info")
    if isinstance(info, str):
        try:
            info = json.loads(info)
        except json.JSONDecodeError:
            drops.add("`original dialog info` is not JSON", where=where, split=split)
            return None
    summaries = _summaries(info)
    if not summaries:
        drops.add("no abstractive summary", where=where, split=split)
        return None
    dialogue = "\n".join(_dialogue(row.get("log"), options))
    if not dialogue:
        drops.add("no dialogue", where=where, split=split)
        return None
    return {
        "id": str(row.get("new dialog id") or row.get("original dialog id") or where),
        "messages": [
            {"role": "user", "content": f"{options.instruction}\n\n{dialogue}"},
            {"role": "assistant", "content": summaries[0]},
        ],
        "meta": {"references": summaries},
        "where": where,
    }


def _summaries(info: Any) -> list[str]:
    """All abstractive summaries, each a list of sentences joined; empty ones are left out."""
    summaries = info.get("summaries") if isinstance(info, dict) else None
    lists = summaries.get("abstractive_summaries") if isinstance(summaries, dict) else None
    joined = [
        " ".join(html.unescape(sentence).strip() for sentence in sentences)
        for sentences in lists or []
        if isinstance(sentences, list) and all(isinstance(sentence, str) for sentence in sentences)
    ]
    return [text for text in joined if text.strip()]


def _dialogue(log: Any, options: Options) -> Iterator[str]:
    """One line for each thing said that has words left."""
    for turn in log if isinstance(log, list) else []:
        for speaker, key in (("Customer", "user utterance"), ("Agent", "system response")):
            text = _clean(str(turn.get(key) or ""), options)
            if text:
                yield f"{speaker}: {text}"


def _clean(text: str, options: Options) -> str:
    text = html.unescape(text)
    for kind in options.remove:
        text = NOISE[kind].sub(" ", text)
    text = " ".join(text.split())
    # Taking something out of the middle of a sentence leaves a blank before its comma or full stop.
    return re.sub(r" +([.,!?;:])(?=\s|$)", r"\1", text) if options.remove else text
