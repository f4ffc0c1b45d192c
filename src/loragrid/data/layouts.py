"""The ways in which people lay out rows for fine-tuning, and what each becomes.

| layout | fields | becomes |
|---|---|---|
| messages | `messages`: a list of `role` and `content` (OpenAI) | dialogue |
| sharegpt | `conversations`: a list of `from` and `value`; `system` if there is one | dialogue |
| alpaca | `instruction`, `output`; `input` and `system` if there are any | dialogue of two messages |
| completion | `prompt`, `completion`; `system` if there is one | dialogue of two messages |
| preference | `chosen`, `rejected`; `prompt`, unless both begin with it as lists of messages | preference pair |
| choice | `question`, `answer`, and `choices` (a list) or `A`, `B`, … | choice question |
"""

import json
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loragrid.data.records import ChoiceQuestion, Dialogue, Message, PreferencePair, Record
from loragrid.errors import shortened

FIELDS = (
    "id", "system", "messages", "conversations", "instruction", "input", "output", "prompt", "completion", "chosen",
    "rejected", "question", "choices", "answer", *string.ascii_uppercase,
)  # fmt: skip
"""Everything that a row may be asked for."""

ROLES = {
    "system": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant",
    "model": "assistant", "bot": "assistant",
}  # fmt: skip
"""Ours of the names that people give to roles."""


class Unusable(Exception):
    """Why a row is dropped: the same words each time, since they are counted."""


@dataclass(frozen=True)
class Layout:
    """One way to lay out rows.

    Args:
        kind: of record that a row becomes.
        needs: fields without which a row is not of this layout; of fields in one group any is enough.
        build: from the fields of a row, by our names, to what makes the record; `Unusable` says what is wrong with it.
    """

    kind: type[Record]
    needs: tuple[tuple[str, ...], ...]
    build: Callable[[Mapping[str, Any]], dict[str, Any]]


def recognise(fields: Mapping[str, Any]) -> str | None:
    """The layout of a row by its fields; None if it is none of these."""
    for name, layout in LAYOUTS.items():
        if all(any(field in fields for field in group) for group in layout.needs):
            return name
    return None


def renamed(row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """A row with our names of its fields.

    Args:
        row: as it was read.
        columns: its column for each field of ours that is called otherwise there.
    """
    taken = set(columns.values())
    own = {name: value for name, value in row.items() if name not in taken and name not in columns}
    return own | {field: row[column] for field, column in columns.items() if column in row}


def expected(layout: str | None) -> str:
    """What a row needs, for people."""
    if layout is not None:
        return ", ".join(" or ".join(group) for group in LAYOUTS[layout].needs)
    return "; or ".join(f"{expected(name)} (layout {name})" for name in LAYOUTS)


def record(layout: str, fields: Mapping[str, Any], where: str, meta: dict[str, Any]) -> Record:
    """The record of a row.

    Args:
        layout: its name.
        fields: of the row, by our names.
        where: its place in the raw files; its name, too, if it has no `id`.
        meta: what else is known.

    Raises:
        Unusable: the row says too little or something else.
    """
    chosen = LAYOUTS[layout]
    for group in chosen.needs:
        if not any(fields.get(field) is not None for field in group):
            raise Unusable(f"no {' or '.join(group)}")
    id_ = fields.get("id")
    name = str(id_) if isinstance(id_, str | int) and str(id_) else where
    return chosen.kind(id=name, meta=meta, where=where, **chosen.build(fields))


def first_line(row: Mapping[str, Any]) -> str:
    """The beginning of a row, for messages."""
    return shortened(json.dumps(row, ensure_ascii=False, default=str))


def _text(fields: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = fields.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str):
        raise Unusable(f"`{name}` is not text")
    return value


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _messages(value: Any, role: str, content: str, what: str) -> list[Message]:
    """A list of messages whose roles and contents are called so; a string may hold it as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Unusable(f"`{what}` is not a list of messages") from None
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise Unusable(f"`{what}` is not a list of messages")
    found = []
    for message in value:
        name, text = message.get(role), message.get(content)
        if isinstance(text, list):  # parts of a message; only text can be trained on here
            parts = [part.get("text") if isinstance(part, dict) else None for part in text]
            if not all(isinstance(part, str) for part in parts):
                raise Unusable("a message has parts that are not text")
            text = "".join(map(str, parts))
        if not isinstance(name, str) or not isinstance(text, str):
            raise Unusable(f"a message without `{role}` and `{content}` as text")
        if message.get("weight", 1) == 0:
            raise Unusable("a message that is not to be learnt (weight 0)")
        found.append(_message(ROLES.get(name.lower(), name), text))
    return found


def _with_system(fields: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    system = _text(fields, "system", needed=False)
    has_one = bool(messages) and messages[0]["role"] == "system"
    return [_message("system", system), *messages] if system and not has_one else messages


def _from_messages(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": _with_system(fields, _messages(fields["messages"], "role", "content", "messages"))}


def _from_sharegpt(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": _with_system(fields, _messages(fields["conversations"], "from", "value", "conversations"))}


def _from_alpaca(fields: Mapping[str, Any]) -> dict[str, Any]:
    parts = [_text(fields, "instruction"), _text(fields, "input", needed=False)]
    asked = "\n\n".join(part for part in parts if part.strip())
    return {"messages": _with_system(fields, [_message("user", asked), _message("assistant", _text(fields, "output"))])}


def _from_completion(fields: Mapping[str, Any]) -> dict[str, Any]:
    messages = [_message("user", _text(fields, "prompt")), _message("assistant", _text(fields, "completion"))]
    return {"messages": _with_system(fields, messages)}


def _from_preference(fields: Mapping[str, Any]) -> dict[str, Any]:
    answers = {name: fields[name] for name in ("chosen", "rejected")}
    prompt = fields.get("prompt")
    if all(isinstance(answer, str) for answer in answers.values()):
        before = (
            [_message("user", prompt)] if isinstance(prompt, str) else _messages(prompt, "role", "content", "prompt")
        )
        return {"messages": _with_system(fields, before), **answers}
    lists = {name: _messages(answer, "role", "content", name) for name, answer in answers.items()}
    for name, messages in lists.items():
        if not messages or messages[-1]["role"] != "assistant":
            raise Unusable(f"`{name}` does not end with an answer of the assistant")
    before = lists["chosen"][:-1]
    if before != lists["rejected"][:-1]:
        raise Unusable("`chosen` and `rejected` do not answer the same dialogue")
    if isinstance(prompt, list):
        before = _messages(prompt, "role", "content", "prompt") + before
    elif isinstance(prompt, str) and not before:
        before = [_message("user", prompt)]
    return {
        "messages": _with_system(fields, before),
        "chosen": lists["chosen"][-1]["content"],
        "rejected": lists["rejected"][-1]["content"],
    }


ONE_TOO_MANY = "the answer's number, from 0, is one more than there are choices"


def _from_choice(fields: Mapping[str, Any]) -> dict[str, Any]:
    choices = fields.get("choices")
    if isinstance(choices, str):
        try:
            choices = json.loads(choices)
        except (ValueError, RecursionError):
            raise Unusable("`choices` is not a list") from None
    if choices is None:
        letters = [letter for letter in string.ascii_uppercase if fields.get(letter) is not None]
        choices = [fields[letter] for letter in letters]
        if letters != list(string.ascii_uppercase[: len(letters)]):
            raise Unusable("a choice between two others is missing")
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise Unusable("the choices are not texts")
    return {
        "question": _text(fields, "question"),
        "choices": choices,
        "answer": _answer(fields["answer"], choices),
    }


def _answer(answer: Any, choices: list[str]) -> int:
    """The place of the right choice, from its letter, its text, or its number from 0."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        place = answer
    elif not isinstance(answer, str):
        raise Unusable("`answer` is no letter, number or text")
    elif (letter := answer.strip().strip("().").upper()) in string.ascii_uppercase[: len(choices)] and letter:
        # Before the texts: a choice may itself be a letter, and an answer then still names a place.
        place = string.ascii_uppercase.index(letter)
    elif choices.count(answer) == 1:
        place = choices.index(answer)
    elif answer.strip().isdecimal():
        place = int(answer)
    else:
        place = -1
    if place == len(choices):
        raise Unusable(ONE_TOO_MANY)
    if not 0 <= place < len(choices):
        raise Unusable("the answer is none of the choices")
    return place


LAYOUTS: dict[str, Layout] = {
    "preference": Layout(PreferencePair, (("chosen",), ("rejected",)), _from_preference),
    "choice": Layout(ChoiceQuestion, (("question",), ("choices", "A"), ("answer",)), _from_choice),
    "messages": Layout(Dialogue, (("messages",),), _from_messages),
    "sharegpt": Layout(Dialogue, (("conversations",),), _from_sharegpt),
    "alpaca": Layout(Dialogue, (("instruction",), ("output",)), _from_alpaca),
    "completion": Layout(Dialogue, (("prompt",), ("completion",)), _from_completion),
}
"""Every layout by its name, those with more fields first: a row is of the first that it has all fields of."""
