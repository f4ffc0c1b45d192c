"""MT-Bench's own files: questions of two turns in `question.jsonl`, and a model's answers to them as references."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.layouts import first_line
from loragrid.data.records import Dialogue
from loragrid.data.tables import rows
from loragrid.errors import UserError
from loragrid.study.choices import Choice

QUESTIONS = "question.jsonl"

STEPS: list[Choice] = ["unicode", "whitespace"]
FORMAT: Choice = "replay"
FACETS = ("category",)


def read_questions(folder: Path, drops: Drops) -> Iterator[tuple[str, Dialogue]]:
    """Read the questions, all of them as test, with the references that lie beside them.

    Args:
        folder: holds question.jsonl, and answers of the same questions in other .jsonl files, at any depth.
        drops: counts rows and what is dropped of them.

    Yields:
        Split and record: the user's turns only, which a model answers one after the other.

    Raises:
        UserError: there is no such file, or it has other rows.
    """
    found = sorted(folder.rglob(QUESTIONS))
    if len(found) != 1:
        raise UserError(f"{folder}: expected one {QUESTIONS}; found {len(found)}")
    references = _references(folder, found[0])
    for where, row in rows(found[0], QUESTIONS, "test", drops):
        turns, number = row.get("turns"), row.get("question_id")
        if not isinstance(number, int | str) or not isinstance(turns, list):
            raise UserError(
                f"{found[0]}: expected rows with `question_id`, `category`, `turns`; found {first_line(row)}"
            )
        if not turns or not all(isinstance(turn, str) for turn in turns):
            drops.add("a turn is not text", where=where, split="test")
            continue
        own = row.get("reference")
        known = {
            "category": row.get("category"),
            "references": references.get(number, own if isinstance(own, list) else None),
        }
        meta = {name: value for name, value in known.items() if value}
        yield "test", Dialogue(str(number) or where, [{"role": "user", "content": turn} for turn in turns], meta, where)


def _references(folder: Path, questions: Path) -> dict[Any, list[str]]:
    """A model's answer to each turn, by question."""
    found: dict[Any, list[str]] = {}
    for path in sorted(folder.rglob("*.jsonl")):
        if path == questions:
            continue
        for _, row in rows(path, path.name, "test", Drops()):
            choices = row.get("choices")
            # The key of the model's name differs between languages, and is not needed.
            if (
                isinstance(row.get("question_id"), int | str)
                and isinstance(choices, list)
                and choices
                and isinstance(choices[0], dict)
            ):
                turns = choices[0].get("turns")
                if isinstance(turns, list) and all(isinstance(turn, str) for turn in turns):
                    found[row["question_id"]] = turns
    return found
