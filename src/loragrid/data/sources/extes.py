"""ExTES (Zheng et al. 2023): emotional support dialogues written by a language model, with its strategies.

A list of `{scene, description, content}`, where `content` is a list of `{"User": …}` and `{"AI": …, "AI Strategy": …}`;
what the AI says may itself be an object with `Response`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.layouts import Unusable, first_line
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import NoOptions, Size
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError
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


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """Read ExTES.json, or train, validation and test files of the same layout.

    Args:
        folder: holds the files.
        options: none.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there is no such file, or its first row is of another layout.
    """
    for split, path in data_files(folder, (".json", ".jsonl")):
        is_known = False
        for where, row in rows(path, path.relative_to(folder).as_posix(), split, drops):
            if not is_known and not isinstance(row.get("content"), list):
                raise UserError(
                    f"{path}: expected rows with `scene`, `description`, `content`; found {first_line(row)}"
                )
            is_known = True
            try:
                yield split, _record(row, where)
            except Unusable as problem:
                drops.add(str(problem), where=where, split=split)


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
