"""The rows of generations.jsonl: what was asked, and what was answered. Light to import."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from loragrid.files import read_jsonl

COLUMNS = (
    "id",
    "messages",
    "asked",
    "answer",
    "reference",
    "prompt_tokens",
    "prompt_cut",
    "answer_tokens",
    "ended",
    "seconds",
)
"""Of a row: the prompt's id and messages, which of a conversation have the subject's own answers; `asked` is what of
these it was shown, where that is less; the answer, and the reference, if there is one; tokens of both, whether the
prompt lost its beginning to fit the model's context, and whether the answer came to its end (`stop`), to its limit
(`length`), or is none since the template refuses what the subject had said before (`refused`); and its share of the
seconds that answering took."""

REFUSED = "refused"

_MEASURED = "seconds"


def is_scored(prompt: Mapping[str, Any]) -> bool:
    """Whether the answer to a prompt is scored: some are there only for the turns of a conversation after them."""
    return bool(prompt.get("scored", True))


def shown_of(row: Mapping[str, Any], prompt: Mapping[str, Any]) -> Any:
    """The messages that a subject read before its answer; answers of an earlier version do not have them."""
    return row.get("asked") or row.get("messages") or prompt["messages"]


def said_of(row: Mapping[str, Any], prompt: Mapping[str, Any]) -> Any:
    """The whole conversation before an answer, whatever of it the subject read."""
    return prompt.get("said") or row.get("messages") or prompt["messages"]


def line_of(record: Mapping[str, Any]) -> str:
    """A row as it is written."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def answers_sha256(generations: Path) -> str:
    """The digest of a file of answers, which is the same wherever the same was answered."""
    return digest_of(read_jsonl(generations))


def digest_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The digest of rows, without what was measured of them."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(line_of(repeatable(row)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def repeatable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what was measured of it."""
    return {name: value for name, value in row.items() if name != _MEASURED}
