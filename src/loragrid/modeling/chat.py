"""Dialogues as a model sees them: text by its chat template, and which part of it is an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from loragrid.errors import UserError
from loragrid.modeling.messages import Message


@dataclass(frozen=True)
class Encoded:
    """A tokenised dialogue.

    Args:
        ids: token ids.
        is_answer: for each token, whether it belongs to an answer (its end-of-turn token included).
    """

    ids: list[int]
    is_answer: list[bool]


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, answer_next: bool = False) -> str:
    """The text of a dialogue by the tokenizer's chat template.

    Templates without a system role refuse one (Gemma) or leave it out: it is put before the first user message instead.

    Args:
        tokenizer: has the template.
        messages: the dialogue.
        answer_next: end with what introduces the assistant's answer.

    Raises:
        UserError: the template refuses the dialogue.
    """
    messages = list(messages)
    has_system = len(messages) > 1 and messages[0]["role"] == "system" and messages[1]["role"] == "user"
    try:
        text = _apply(tokenizer, messages, answer_next)
        # Some templates leave the system message out without a word.
        if not has_system or messages[0]["content"].strip() in text:
            return text
    except TemplateError as error:
        if not has_system:
            raise UserError(f"the chat template refuses a dialogue: {error}") from None
    first = {"role": "user", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
    return render(tokenizer, [first, *messages[2:]], answer_next=answer_next)


def encode(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, last_only: bool = False
) -> list[Encoded]:
    """Tokenise a dialogue and mark its answers.

    Args:
        tokenizer: a fast tokenizer with a chat template.
        messages: the dialogue, ending with an assistant message.
        last_only: mark the last answer only.

    Returns:
        One row with every answer marked, where the template is prefix-stable (the text of a dialogue begins with the
        text of its beginning); otherwise a row for each answer, with the dialogue up to it. One row with `last_only`.
    """
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if last_only:
        answers = answers[-1:]
    whole = render(tokenizer, messages)
    spans = [_span(tokenizer, messages, index) for index in answers]
    if all(whole.startswith(text) for text, _ in spans):
        return [_tokenise(tokenizer, whole, [span for _, span in spans])]
    return [_tokenise(tokenizer, text, [span]) for text, span in spans]


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The special token with which the chat template ends an answer, if it does: what models are trained to stop at."""
    (encoded,) = encode(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}])
    last = [token for token, is_answer in zip(encoded.ids, encoded.is_answer, strict=True) if is_answer][-1]
    return last if last in tokenizer.added_tokens_decoder else None


def _apply(tokenizer: PreTrainedTokenizerBase, messages: list[Message], answer_next: bool) -> str:
    text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer_next)
    return str(text)


def _span(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], index: int) -> tuple[str, tuple[int, int]]:
    """The text up to and with one answer, and where the answer stands in it."""
    text = render(tokenizer, messages[: index + 1])
    before = render(tokenizer, messages[:index], answer_next=True)
    start = len(before)
    if not text.startswith(before):
        # Some templates write another introduction before a known answer than before one to come.
        start = text.rfind(messages[index]["content"].strip())
        if start < 0:
            raise UserError("the chat template rewrites answers, so they cannot be found in its text; use another one")
    # Blanks after the end of the turn belong to the template, not to what the model has to say.
    return text, (start, len(text.rstrip()))


def _tokenise(tokenizer: PreTrainedTokenizerBase, text: str, spans: list[tuple[int, int]]) -> Encoded:
    encoded: Any = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    is_answer = [any(start <= first < end for start, end in spans) for first, _ in encoded["offset_mapping"]]
    return Encoded(encoded["input_ids"], is_answer)
