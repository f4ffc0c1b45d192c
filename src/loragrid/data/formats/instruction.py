"""Single turns with a frame around the instruction, such as `Instruction: …\\nResponse: …`."""

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from loragrid.data.fields import NAME, fill
from loragrid.data.formats.base import Example
from loragrid.data.records import Dialogue, Dropped

VERSION = 1
OBJECTIVES = ("sft",)
HAS_ANSWERS = True
KIND = Dialogue


class Options(BaseModel, extra="forbid", frozen=True):
    """What the frame is, and which turns are put into it."""

    frame: str = Field(
        "Instruction: {user}\nResponse:",
        min_length=1,
        description="What the user says: `{user}` is the message before the answer; `{emotion}` and the like what is "
        "known of a dialogue.",
    )

    @field_validator("frame")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not NAME.search(value):
            raise ValueError("has no name in braces, such as {user}: every instruction would be the same")
        return value

    turns: Literal["answers", "all"] = Field(
        "answers",
        description="`answers`: the assistant's messages; `all`: also the user's, as if the assistant had said them.",
    )


def examples(record: Dialogue, options: Options) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    made = []
    said = ""
    system = [message for message in record.messages[:1] if message["role"] == "system"]
    for number, message in enumerate((m for m in record.messages if m["role"] != "system"), start=1):
        if options.turns == "all" or (message["role"] == "assistant" and said):
            user = fill(options.frame, {**record.meta, "user": said}, "format.instruction.frame")
            turn = [*system, {"role": "user", "content": user}, {"role": "assistant", "content": message["content"]}]
            made.append(Example(f"{record.id}:{number}", record.id, turn, meta=record.meta))
        said = message["content"]
    return made or "no answer of the assistant"
