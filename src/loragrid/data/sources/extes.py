"""ExTES (Zheng et al. 2023): emotional support dialogues written by a language model, with its strategies.

A list of `{scene, description, content}`, where `content` is a list of `{"User": …}` and `{"AI": …, "AI Strategy": …}`;
what the AI says may itself be an object with `Response`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable
from loragrid.data.reading import read_files
from loragrid.data.records import Dialogue, Record
from loragrid.data.sources.base import NoOptions, Size
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "none stated"
HOMEPAGE = "https://github.com/pandazzh2020/ExTES (unpack ExTES.zip)"
REMOTE = None
SIZE = Size(rows={"all": 11_177}, tokens=420)
KIND = Dialogue
# Some dialogues begin with the AI, and turns of one side may follow each other.
STEPS: list[Choice] = [
    "unicode", {"whitespace": {"within": "single"}}, {"merge_turns": {"join": " "}}, {"answered": {"first": "cut"}},
]  # fmt: skip
FORMAT: Choice = "chat"
FACETS = ("scene", "strategies")

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Record]]:
    """Read ExTES.json, or train, validation and test files of the same layout; see `Source.read`."""
    return read_files(
        folder,
        (".json", ".jsonl"),
        drops,
        lambda row, where, _: _record(row, where),
        knows=lambda row: isinstance(row.get("content"), list),
        expected="`scene`, `description`, `content`",
    )


def _record(row: dict[str, Any], where: str) -> Dialogue:
    if not isinstance(row.get("content"), list):
        raise Unusable("`content` is not a list")
    messages, strategies = [], []
    for turn in row["content"]:
        if not isinstance(turn, dict):
            raise Unusable("a turn is not an object")
        # One object may hold both sides.
        for role, name in (("user", "User"), ("assistant", "AI")):
            if name in turn:
                messages.append({"role": role, "content": _said(turn[name])})
        if isinstance(strategy := turn.get("AI Strategy"), str) and strategy.strip():
            strategies.append(strategy.strip())
    meta = {name: row[name].strip() for name in ("scene", "description") if isinstance(row.get(name), str)}
    return Dialogue(where, messages, {**meta, **({"strategies": strategies} if strategies else {})}, where)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("Response")
    if not isinstance(value, str):
        raise Unusable("what is said is not text")
    return value
