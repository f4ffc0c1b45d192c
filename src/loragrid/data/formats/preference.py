"""A preference pair: the dialogue up to the answer, the preferred answer, and the other."""

from pydantic import BaseModel, Field

from loragrid.data.formats.base import Example
from loragrid.data.formats.chat import disorder
from loragrid.data.records import Dropped, PreferencePair

VERSION = 1
OBJECTIVES = ("dpo",)
HAS_ANSWERS = True
KIND = PreferencePair


class Options(BaseModel, extra="forbid", frozen=True):
    """What is added to a dialogue."""

    system: str | None = Field(None, description="System message of each dialogue without one.")


def examples(record: PreferencePair, options: Options) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    messages = [*record.messages, {"role": "assistant", "content": record.chosen}]
    if options.system is not None and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": options.system})
    return disorder(messages) or [Example(record.id, record.id, messages, record.rejected, meta=record.meta)]
