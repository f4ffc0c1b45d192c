"""Dialogues as tokenised rows that are no longer than wanted: the oldest turns go, an answer is never cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from loragrid.modeling.chat import Chat, Encoded, EncodedPair
from loragrid.modeling.messages import Message


@dataclass(frozen=True)
class Fitted:
    """A row, or that there is none.

    Args:
        encoded: the row; None where even the last answer with the message before it is too long.
        length: tokens before anything was left out.
        left_out: messages that were.
    """

    encoded: Encoded | None
    length: int
    left_out: int


@dataclass(frozen=True)
class FittedPair:
    """Two answers to a dialogue, or that there are none.

    Args:
        encoded: the pair; None where one of its answers with the message before it is too long.
        chosen_length: tokens of dialogue and preferred answer, before anything was left out.
        rejected_length: the same of the other.
        left_out: messages that were, of both alike.
    """

    encoded: EncodedPair | None
    chosen_length: int
    rejected_length: int
    left_out: int


def fitted_rows(
    chat: Chat, messages: Sequence[Message], max_length: int, *, whole_only: bool = False
) -> Iterator[Fitted]:
    """Tokenise a dialogue within a length.

    Args:
        chat: tokenizer and template.
        messages: begin with the user (after the system's, if there is one), roles alternate, end with the assistant.
        max_length: longest row in tokens.
        whole_only: of a template that needs a row for each answer, only that of the last one: it is the whole dialogue.

    Yields:
        One row with all answers, or a row for each where the template is not prefix-stable.
    """
    rows = chat.encode(messages)
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if len(rows) == 1:
        yield _fitted(chat, rows[0], messages, max_length, last_only=False)
        return
    each = list(zip(rows, answers, strict=True))
    for row, answer in each[-1:] if whole_only else each:
        yield _fitted(chat, row, messages[: answer + 1], max_length, last_only=True)


def fitted_pair(chat: Chat, messages: Sequence[Message], rejected: str, max_length: int) -> FittedPair:
    """Tokenise two answers to a dialogue, both within a length.

    Args:
        chat: tokenizer and template.
        messages: as of `fitted_rows`; the last one is the preferred answer.
        rejected: the other answer.
        max_length: longest dialogue with an answer, in tokens.
    """
    whole = chat.encode_pair(messages, rejected)
    lengths = _lengths(whole)
    if max(lengths) <= max_length:
        return FittedPair(whole, *lengths, 0)
    for left_out, rest in _shorter(messages):
        pair = chat.encode_pair(rest, rejected)
        if max(_lengths(pair)) <= max_length:
            return FittedPair(pair, *lengths, left_out)
    return FittedPair(None, *lengths, len(messages))


def _lengths(pair: EncodedPair) -> tuple[int, int]:
    return len(pair.prompt) + len(pair.chosen), len(pair.prompt) + len(pair.rejected)


def _fitted(chat: Chat, row: Encoded, messages: Sequence[Message], max_length: int, *, last_only: bool) -> Fitted:
    length = len(row.ids)
    if length <= max_length:
        return Fitted(row, length, 0)
    for left_out, rest in _shorter(messages):
        for shorter in chat.encode(rest, last_only=last_only)[-1:]:
            if len(shorter.ids) <= max_length:
                return Fitted(shorter, length, left_out)
    return Fitted(None, length, len(messages))


def _shorter(messages: Sequence[Message]) -> Iterator[tuple[int, list[Message]]]:
    """A dialogue without its oldest turns, more and more of them, and how many messages are left out."""
    system = list(messages[:1]) if messages[0]["role"] == "system" else []
    turns = messages[len(system) :]
    # A question and its answer at a time, so that the rest begins with the user.
    for left_out in range(2, len(turns), 2):
        yield left_out, [*system, *turns[left_out:]]
