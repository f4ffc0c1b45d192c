"""The prompts of an evaluation: dialogues cut off before an answer, with that answer as the reference."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl
from loragrid.modeling.messages import with_system


def write_prompts(
    clean: Path,
    out: Path,
    *,
    split: str,
    turns: str,
    rows: int | None,
    system: str | None,
    default_system: str | None,
) -> None:
    """Write one prompt a line: `id`, `dialogue`, `messages`, `reference`, `meta`.

    Args:
        clean: folder of the cleaned dataset.
        out: the file.
        split: `validation` or `test`.
        turns: `all` to ask at every assistant turn, `last` at the last.
        rows: at most this many dialogues.
        system: system prompt in place of a dialogue's own.
        default_system: system prompt for dialogues without one.

    Raises:
        UserError: there is nothing to ask.
    """
    prompts = [
        prompt
        for record in islice(read_jsonl(clean / f"{split}.jsonl"), rows)
        for prompt in _prompts(record, turns, system, default_system)
    ]
    if not prompts:
        raise UserError(f"{clean / split}.jsonl: no dialogue has an answer to ask for")
    write_jsonl(out, prompts)


def _prompts(
    record: dict[str, Any], turns: str, system: str | None, default_system: str | None
) -> Iterator[dict[str, Any]]:
    messages = with_system(record["messages"], system, default_system)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant" and index > 0]
    for index in answers if turns == "all" else answers[-1:]:
        yield {
            "id": f"{record['id']}#{index}",
            "dialogue": record["id"],
            "messages": messages[:index],
            "reference": messages[index]["content"],
            "meta": record.get("meta", {}),
        }
