"""A reference after its prompt, as a model reads it."""

from dataclasses import dataclass
from typing import Any

from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat


@dataclass(frozen=True)
class ReferenceRow:
    """A prompt with its reference, as far as the model can read it.

    Args:
        ids: token ids.
        is_answer: for each token, whether it belongs to the reference.
        prompt_tokens: of the prompt, before its beginning was cut.
    """

    ids: list[int]
    is_answer: list[bool]
    prompt_tokens: int


def reference_row(chat: Chat, prompt: dict[str, Any], architecture: Architecture) -> ReferenceRow | str:
    """The tokens of a reference after its prompt, or why it cannot be scored.

    Args:
        chat: tokenizer and template.
        prompt: `messages` and `reference`.
        architecture: of the model, whose context takes the end of a longer row.
    """
    context = architecture.context
    messages = [*prompt["messages"], {"role": "assistant", "content": prompt["reference"]}]
    (encoded,) = chat.encode(messages, last_only=True)
    ids, is_answer = encoded.ids, encoded.is_answer
    prompt_tokens = next((place for place, is_marked in enumerate(is_answer) if is_marked), len(ids))
    if context is not None:
        ids, is_answer = ids[-context:], is_answer[-context:]  # the prompt's beginning goes first
    if is_answer[0]:
        return f"longer than the model's context of {context} tokens"
    if max(ids) >= architecture.rows:
        return f"has tokens that the model's embedding of {architecture.rows} rows lacks"
    # One token for all that it does not know is likely for any model, whatever stands there.
    if any(id_ == chat.unknown_token for id_, counts in zip(ids, is_answer, strict=True) if counts):
        return f"has signs that the tokenizer does not know ({chat.tokenizer.unk_token})"
    return ReferenceRow(ids, is_answer, prompt_tokens)
