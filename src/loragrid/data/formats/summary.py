"""A dialogue as a text to be summarised: the user shows it, the assistant answers with the first of its summaries."""

from pydantic import BaseModel, Field

from loragrid.data.formats.base import Example
from loragrid.data.records import Dialogue, Dropped

VERSION = 1
OBJECTIVES = ("sft",)
HAS_ANSWERS = True
KIND = Dialogue


class Options(BaseModel, extra="forbid", frozen=True):
    """How it is asked for."""

    instruction: str = Field(
        "Summarise this conversation.", min_length=1, description="What the user asks for, above the dialogue."
    )
    system: str | None = Field(None, description="System message before it; by default the dialogue's own.")
    user: str = Field("User", min_length=1, description="What the user is called in the dialogue.")
    assistant: str = Field("Assistant", min_length=1, description="What the assistant is called in the dialogue.")


def examples(record: Dialogue, options: Options) -> list[Example] | Dropped:
    """See `loragrid.data.formats.base.Format.examples`."""
    if not record.summaries:
        return "no summary"
    names = {"user": options.user, "assistant": options.assistant}
    lines = [f"{names[m['role']]}: {m['content']}" for m in record.messages if m["role"] in names]
    messages = [
        {"role": "user", "content": f"{options.instruction}\n\n" + "\n".join(lines)},
        {"role": "assistant", "content": record.summaries[0]},
    ]
    own = record.messages[0]["content"] if record.messages and record.messages[0]["role"] == "system" else None
    if system := options.system or own:
        messages.insert(0, {"role": "system", "content": system})
    return [Example(record.id, record.id, messages, meta={**record.meta, "references": record.summaries})]
