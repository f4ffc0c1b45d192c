"""Dialogues begin with the user and end with an answer of the assistant; one without an answer is dropped."""

from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, Field

from loragrid.data.records import Dialogue, Dropped, Record
from loragrid.data.steps.base import Apply

VERSION = 1

Way = Literal["cut", "drop"]


class Options(BaseModel, extra="forbid", frozen=True):
    """What becomes of dialogues that begin or end in another way."""

    first: Way = Field(
        "drop", description="A dialogue that the assistant begins: `cut` off what stands before the user, or `drop` it."
    )
    last: Way = Field(
        "cut", description="A dialogue that the user ends: `cut` off what stands after the last answer, or `drop` it."
    )


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""

    def apply(record: Record, split: str) -> Record | Dropped:
        # Pairs and questions have their answers beside them.
        if not isinstance(record, Dialogue):
            return record
        system = record.messages[:1] if record.messages and record.messages[0]["role"] == "system" else []
        turns = record.messages[len(system) :]
        roles = [message["role"] for message in turns]
        if "user" not in roles or "assistant" not in roles[roles.index("user") :]:
            return "no answer of the assistant to the user"
        first, last = roles.index("user"), len(roles) - roles[::-1].index("assistant")
        if first and options.first == "drop":
            return "does not begin with the user"
        if last < len(roles) and options.last == "drop":
            return "does not end with an answer of the assistant"
        return replace(record, messages=[*system, *turns[first:last]])

    return apply
