"""What the user says, turn after turn; the assistant's turns are the model's own, made when it is asked."""

from loragrid.data.formats.base import Example
from loragrid.data.records import Dialogue, Dropped
from loragrid.data.steps.base import NoOptions

VERSION = 1
OBJECTIVES = ()  # there is no answer to learn
HAS_ANSWERS = False
KIND = Dialogue

Options = NoOptions


def examples(record: Dialogue, options: NoOptions) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    messages = [message for message in record.messages if message["role"] != "assistant"]
    if not any(message["role"] == "user" for message in messages):
        return "the user says nothing"
    return [Example(record.id, record.id, messages, meta=record.meta)]
