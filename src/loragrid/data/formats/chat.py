"""A dialogue as it is: every message of the assistant is an answer."""

import itertools

from pydantic import BaseModel, Field

from loragrid.data.fields import fill
from loragrid.data.formats.base import Example
from loragrid.data.records import Dialogue, Dropped, Message

VERSION = 1
OBJECTIVES = ("sft",)
HAS_ANSWERS = True
KIND = Dialogue


class Options(BaseModel, extra="forbid", frozen=True):
    """What is added to a dialogue."""

    system: str | None = Field(
        None,
        description="System message where there is none, with what is known of a dialogue: `The user feels {emotion}.`",
    )


def examples(record: Dialogue, options: Options) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    messages = record.messages
    if options.system is not None and messages and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": fill(options.system, record.meta, "format.chat.system")}, *messages]
    return disorder(messages) or [Example(record.id, record.id, messages, meta=record.meta)]


def disorder(messages: list[Message]) -> Dropped | None:
    """Why a chat template would refuse an order of roles, or nothing could be learnt from it; None if neither.

    Args:
        messages: of a dialogue.
    """
    roles = [message["role"] for message in messages]
    if roles[:1] == ["system"]:
        roles = roles[1:]
    if "system" in roles:
        return "system message in the middle"
    if roles[-1:] != ["assistant"]:
        return "does not end with an answer of the assistant"
    if roles[0] != "user":
        return "does not begin with the user"
    if any(one == next_ for one, next_ in itertools.pairwise(roles)):
        return "two messages of one role in a row (the step `merge_turns` joins them)"
    return None
