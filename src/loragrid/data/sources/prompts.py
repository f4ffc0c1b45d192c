"""A list of prompts, each with a reference answer where there is one: a few chosen questions.

JSON Lines, JSON or CSV with `prompt` and `reference`; all of it is test. Those without a reference are asked by an
evaluation of `kind: replay`, of a dataset with `format: replay`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.layouts import first_line
from loragrid.data.records import Dialogue
from loragrid.data.sources.base import NoOptions, Size
from loragrid.data.tables import data_files, rows
from loragrid.errors import UserError
from loragrid.study.choices import Choice

VERSION = 1
LICENCE = "the user's own data"
HOMEPAGE = "a file of yours"
REMOTE = None
SIZE = Size(rows={"test": 10}, tokens=120)
KIND = Dialogue
STEPS: list[Choice] = ["unicode", "whitespace"]
FORMAT: Choice = "chat"
FACETS = ()

Options = NoOptions


def read(folder: Path, options: NoOptions, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """Read the files of a folder.

    Args:
        folder: holds the files.
        options: none.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record.

    Raises:
        UserError: there is no such file, or it has no column `prompt`.
    """
    for _, path in data_files(folder, (".jsonl", ".json", ".csv", ".tsv")):
        for where, row in rows(path, path.relative_to(folder).as_posix(), "test", drops):
            if "prompt" not in row:
                raise UserError(f"{path}: expected rows with `prompt` and `reference`; found {first_line(row)}")
            texts = [row["prompt"], row.get("reference") or ""]
            if not all(isinstance(text, str) for text in texts):
                drops.add("prompt or reference is not text", where=where, split="test")
                continue
            known: dict[str, Any] = {name: value for name, value in row.items() if name not in ("prompt", "reference")}
            roles = zip(("user", "assistant"), texts, strict=True)
            messages = [{"role": role, "content": text} for role, text in roles if role == "user" or text.strip()]
            name = known.pop("id", where)
            yield "test", Dialogue(str(name), messages, known, where)
