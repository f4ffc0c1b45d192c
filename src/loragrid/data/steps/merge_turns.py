"""Messages of one role in a row become one: chat templates want the roles to alternate."""

from dataclasses import replace

from pydantic import BaseModel, Field

from loragrid.data.records import ChoiceQuestion, Message, Record
from loragrid.data.steps.base import Apply

VERSION = 1


class Options(BaseModel, extra="forbid", frozen=True):
    """How messages are joined."""

    join: str = Field("\n", description="What stands between them.")


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""

    def apply(record: Record, split: str) -> Record:
        if isinstance(record, ChoiceQuestion):
            return record
        joined: list[Message] = []
        for message in record.messages:
            if joined and joined[-1]["role"] == message["role"]:
                joined[-1] = {**message, "content": f"{joined[-1]['content']}{options.join}{message['content']}"}
            else:
                joined.append(message)
        return replace(record, messages=joined)

    return apply
