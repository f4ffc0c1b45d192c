"""A question with its choices, each under a letter; the answer is the letter of the right one."""

import string

from pydantic import BaseModel, Field

from loragrid.data.fields import fill
from loragrid.data.formats.base import Example
from loragrid.data.records import ChoiceQuestion, Dropped

VERSION = 1
OBJECTIVES = ("sft",)
HAS_ANSWERS = True
KIND = ChoiceQuestion


class Options(BaseModel, extra="forbid", frozen=True):
    """How it is asked."""

    frame: str = Field(
        "{question}\n{choices}\nAnswer:",
        min_length=1,
        description="What the user says: `{question}`, `{choices}` (a line each, `A. …`), and what is known of it, "
        "such as `{subject}`.",
    )


def examples(record: ChoiceQuestion, options: Options) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    if len(record.choices) > len(string.ascii_uppercase):
        return "more choices than letters"
    letters = list(string.ascii_uppercase[: len(record.choices)])
    lines = "\n".join(f"{letter}. {choice}" for letter, choice in zip(letters, record.choices, strict=True))
    known = {**record.meta, "question": record.question, "choices": lines}
    messages = [
        {"role": "user", "content": fill(options.frame, known, "format.choice.frame")},
        {"role": "assistant", "content": letters[record.answer]},
    ]
    return [Example(record.id, record.id, messages, choices=letters, meta=record.meta)]
