"""ESConv (Liu et al. 2021): somebody in distress talks with a supporter, whose strategies are noted.

In the layouts in which people have it:

- ESConv.json of https://github.com/thu-coai/Emotional-Support-Conversation: a list of objects with `dialog`;
- FailedESConv.json from there: the same, with other names of the speakers;
- the hub's: rows whose column `text` holds such an object as JSON, with `text` and `speaker` (usr, sys) in each turn;
- the same objects, one a line, as other projects keep them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable
from loragrid.data.reading import read_files
from loragrid.data.records import Dialogue, Message, Record
from loragrid.data.sources.base import HubDataset, NoOptions, Remote, Size
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "CC BY-NC 4.0"
HOMEPAGE = "https://github.com/thu-coai/Emotional-Support-Conversation"
REMOTE = Remote(hub=HubDataset(id="thu-coai/esconv", files=["*.json", "*.jsonl", "*.txt", "*.parquet"]))
SIZE = Size(rows={"train": 910, "validation": 195, "test": 195}, tokens=650)
KIND = Dialogue
# Either side often sends several messages in a row, and the supporter may be the first to write.
STEPS: list[Choice] = [
    "unicode", {"whitespace": {"within": "single"}}, {"merge_turns": {"join": " "}}, {"answered": {"first": "cut"}},
]  # fmt: skip
FORMAT: Choice = "chat"
FACETS = ("emotion", "problem", "experience", "strategies")

Options = NoOptions

SUFFIXES = (".json", ".jsonl", ".txt", ".parquet")
ROLES = {
    "seeker": "user", "speaker": "user", "usr": "user",
    "supporter": "assistant", "listener": "assistant", "sys": "assistant",
}  # fmt: skip


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read train, validation and test, or one file without splits; see `Source.read`."""
    return read_files(
        folder,
        SUFFIXES,
        drops,
        lambda row, where, _: _record(row, where),
        knows=lambda row: "dialog" in row or isinstance(row.get("text"), str),
        expected="`dialog`, or with `text`",
    )


def _record(row: dict[str, Any], where: str) -> Dialogue:
    if "dialog" not in row and isinstance(row.get("text"), str):
        try:
            row = json.loads(row["text"])
        except (ValueError, RecursionError):
            raise Unusable("`text` is not JSON") from None
    if not isinstance(row, dict) or not isinstance(row.get("dialog"), list):
        raise Unusable("row of an unknown layout")
    messages, strategies = [], []
    for turn in row["dialog"]:
        message, strategy = _turn(turn)
        messages.append(message)
        if strategy:
            strategies.append(strategy)
    known = {
        "emotion": row.get("emotion_type"),
        "problem": row.get("problem_type"),
        "experience": row.get("experience_type"),
        "situation": row.get("situation"),
        "strategies": strategies,
    }
    meta = {name: value.strip() if isinstance(value, str) else value for name, value in known.items() if value}
    return Dialogue(where, messages, meta, where)


def _turn(turn: Any) -> tuple[Message, str]:
    if not isinstance(turn, dict):
        raise Unusable("a turn is not an object")
    text = turn["content"] if "content" in turn else turn.get("text")
    if not isinstance(text, str) or not isinstance(turn.get("speaker"), str):
        raise Unusable("a turn without `speaker` and text")
    role = ROLES.get(turn["speaker"])
    if role is None:
        raise Unusable("an unknown speaker")
    annotation = turn.get("annotation")
    strategy = annotation.get("strategy") if isinstance(annotation, dict) else turn.get("strategy")
    return {"role": role, "content": text}, strategy.strip() if isinstance(strategy, str) else ""
