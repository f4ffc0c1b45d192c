"""What is asked at the command line: a text, or a file of prompts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.modeling.messages import Message

ROLES = ("system", "user", "assistant")


def questions(text: str | None, file: Path | None) -> list[list[Message]]:
    """Conversations to be answered.

    Args:
        text: what the user says.
        file: more of them: JSON Lines with `prompt` or `messages` (such as data/prompts/….jsonl), or one text a line.

    Raises:
        UserError: there is nothing to ask, or a line of the file is no prompt.
    """
    found = [_said(text)] if text is not None else []
    if file is not None:
        found += list(_of_rows(file) if file.suffix in (".jsonl", ".json") else _of_lines(file))
    if not found or not all(prompt[-1]["content"].strip() for prompt in found):
        raise UserError(
            f"{file}: holds no prompt" if file and not found else "there is nothing to ask: a prompt is empty"
        )
    return found


def _said(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def _of_lines(file: Path) -> Iterator[list[Message]]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
    yield from (_said(line) for line in lines if line.strip())


def _of_rows(file: Path) -> Iterator[list[Message]]:
    for number, row in enumerate(read_jsonl(file), start=1):
        fields: dict[str, Any] = row if isinstance(row, dict) else {}
        if isinstance(prompt := fields.get("prompt"), str):
            yield _said(prompt)
        elif fields.get("after") is not None:
            raise UserError(
                f"{file}, row {number}: is a later turn of a conversation, which goes on after an answer; leave such "
                "rows out"
            )
        elif _is_conversation(messages := fields.get("messages", [])):
            yield [{"role": each["role"], "content": each["content"]} for each in messages]
        else:
            raise UserError(
                f"{file}, row {number}: needs `prompt`, a text, or `messages` of role and content ending with a user"
            )


def _is_conversation(messages: Any) -> bool:
    return (
        isinstance(messages, list)
        and bool(messages)
        and all(
            isinstance(each, dict) and each.get("role") in ROLES and isinstance(each.get("content"), str)
            for each in messages
        )
        and messages[-1]["role"] == "user"
    )
