"""What a dataset is made of, once it is read: dialogues, preference pairs, and questions with choices."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from loragrid.words import plain

Message = dict[str, str]
"""`role` (system, user, assistant) and `content`."""

ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What a user and an assistant say in turn; an instruction and its answer are one of two messages.

    Args:
        id: name of the record, in its dataset.
        messages: in their order.
        meta: what else is known, JSON values by name; a format may use it.
        where: place in the raw files, as `file:line`; not kept in the cleaned file.
        rows: raw rows that it was made of; not kept either.
        summaries: of the whole dialogue, the best first, where it has any.
    """

    FIELDS: ClassVar = ("messages", "summaries")
    FORMAT: ClassVar = "chat"

    id: str
    messages: list[Message]
    meta: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    rows: int = 1
    summaries: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """Two answers to the same dialogue, of which one is preferred.

    Args:
        id: as of a dialogue, and so are `meta`, `where` and `rows`.
        messages: the dialogue up to the answer.
        chosen: the preferred answer.
        rejected: the other.
    """

    FIELDS: ClassVar = ("messages", "chosen", "rejected")
    FORMAT: ClassVar = "preference"

    id: str
    messages: list[Message]
    chosen: str
    rejected: str
    meta: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    rows: int = 1


@dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A question with choices, one of which is right.

    Args:
        id: as of a dialogue, and so are `meta`, `where` and `rows`.
        question: its text.
        choices: two or more.
        answer: index of the right one, from 0.
    """

    FIELDS: ClassVar = ("question", "choices", "answer")
    FORMAT: ClassVar = "choice"

    id: str
    question: str
    choices: list[str]
    answer: int
    meta: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    rows: int = 1


Record = Dialogue | PreferencePair | ChoiceQuestion

Dropped = str
"""Why a record is dropped: the same words each time, since they are counted."""


def kind_of(record: Record) -> str:
    """What it is, for people."""
    return {Dialogue: "dialogue", PreferencePair: "preference pair", ChoiceQuestion: "choice question"}[type(record)]


def to_json(record: Record) -> dict[str, Any]:
    """A record as a line of a cleaned file has it: `id`, its own fields, `meta`."""
    return {"id": record.id, **content(record), "meta": record.meta}


def from_json(line: dict[str, Any]) -> Record:
    """The record of a line of a cleaned file."""
    kind = PreferencePair if "chosen" in line else ChoiceQuestion if "choices" in line else Dialogue
    return kind(**line)


def content(record: Record) -> dict[str, Any]:
    """What a record says, whatever it is called: equal contents are duplicates."""
    return {name: value for name in record.FIELDS if (value := getattr(record, name)) != []}


def asked(record: Record) -> Any:
    """What a model is asked, whatever the answers and the system message: to know it from training is enough of a leak.

    Returns:
        What the user says, message by message; of a choice question the question and its choices in any order; where
        nobody asks anything, as in a single line of a dialogue, all that is said.
    """
    if isinstance(record, ChoiceQuestion):
        return [record.question, sorted(record.choices)]
    questions = [message["content"] for message in record.messages if message["role"] == "user"]
    return questions or [message["content"] for message in record.messages if message["role"] != "system"]


def question(record: Record) -> Any:
    """What a model is asked, as it is compared: in whatever case and punctuation, it is the same question."""
    if isinstance(record, ChoiceQuestion):
        return [plain(record.question), sorted(map(plain, record.choices))]
    return list(map(plain, asked(record)))


def texts(record: Record) -> list[str]:
    """All texts of a record, meta aside."""
    if isinstance(record, ChoiceQuestion):
        return [record.question, *record.choices]
    found = [message["content"] for message in record.messages]
    return [*found, record.chosen, record.rejected] if isinstance(record, PreferencePair) else found + record.summaries


def mapped(record: Record, change: Callable[[str], str]) -> Record:
    """A record with each of its texts changed.

    A message of which nothing is left goes. One that was empty before stays, as does what a record consists of
    otherwise: it is found empty later.

    Args:
        record: the record.
        change: from text to text.
    """
    if isinstance(record, ChoiceQuestion):
        return replace(record, question=change(record.question), choices=[change(choice) for choice in record.choices])
    pairs = [(message, change(message["content"])) for message in record.messages]
    messages = [{**message, "content": text} for message, text in pairs if text or not message["content"].strip()]
    if isinstance(record, PreferencePair):
        return replace(record, messages=messages, chosen=change(record.chosen), rejected=change(record.rejected))
    return replace(record, messages=messages, summaries=[text for text in map(change, record.summaries) if text])


def fault(record: Record) -> Dropped | None:
    """Why a record is unusable whatever it is for; None if it is not.

    Args:
        record: after all steps.
    """
    if isinstance(record, ChoiceQuestion):
        if len(record.choices) < 2:
            return "fewer than two choices"
        if len(set(record.choices)) < len(record.choices):
            return "two choices are the same"
        if not 0 <= record.answer < len(record.choices):
            return "the answer is none of the choices"
    elif not record.messages:
        return "no messages"
    elif any(message["role"] not in ROLES for message in record.messages):
        return "unknown role"
    if any(not text.strip() for text in texts(record)):
        return "empty message" if isinstance(record, Dialogue) else "empty text"
    if isinstance(record, PreferencePair) and record.chosen == record.rejected:
        return "chosen and rejected are the same"
    return None
