"""Lines of a cleaned file as tokenised rows, with what became of them counted."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from datasets import Features

from loragrid.data import pairs, supervised
from loragrid.data.chunks import Chunk
from loragrid.data.examples import examples_of
from loragrid.data.formats import FORMATS
from loragrid.data.formats.base import Example
from loragrid.data.records import PreferencePair
from loragrid.data.tally import Tally
from loragrid.errors import UserError
from loragrid.files import parse_jsonl
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message, with_system
from loragrid.modeling.tokenizer import load_chat

Row = Mapping[str, Any]
"""The values of a row by column."""

COUNTS = (
    "examples", "rows", "tokens", "answer_tokens", "shortened", "too_long", "without_loss", "split_borders",
    "unknown_tokens", "with_system", "with_marks",
)  # fmt: skip


class Shape(Protocol):
    """What rows look like, one module for each kind of training."""

    FEATURES: Features
    """Their columns."""

    MEASURED: tuple[str, ...]
    """What the tally has lengths of: rows first, then what they have of several, if they have."""

    def rows_of(
        self, chat: Chat, example: Example, messages: Sequence[Message], mask: str, max_length: int, tally: Tally
    ) -> Iterator[Row]:
        """Make the rows of an example, and count them.

        Args:
            chat: tokenizer and template.
            example: what the rows are of.
            messages: its messages, perhaps with the chat's system prompt before them.
            mask: `answers` or `all`; pairs have their loss on both answers.
            max_length: longest row in tokens.
            tally: counts `rows`, `tokens`, `answer_tokens`, `shortened`, `too_long`, `without_loss`, `split_borders`
                and `unknown_tokens`, and measures lengths.

        Raises:
            UserError: the template refuses the dialogue.
        """
        ...


def shape_of(format_: Mapping[str, Any]) -> Shape:
    """What rows of a format look like.

    Args:
        format_: resolved format.
    """
    return pairs if FORMATS[format_["name"]].KIND is PreferencePair else supervised


class Formatter:
    """Makes rows of chunks of a cleaned file, in this process or, pickled, in another one.

    Args:
        model: folder of the model, for its tokenizer.
        format_: resolved format: what the records become.
        chat: `template` (a name or a file in place of the tokenizer's, or None), its `arguments` and `date`, and the
            `system` prompt for dialogues without one.
        mask: `answers` for a loss on the assistant's answers only, `all` for every token.
        max_length: longest row in tokens.

    Raises:
        UserError: the tokenizer cannot be used.
    """

    def __init__(self, model: Path, format_: Mapping[str, Any], chat: Mapping[str, Any], mask: str, max_length: int):
        self._arguments = model, format_, chat, mask, max_length
        self.chat = load_chat(str(model), chat)
        self.shape = shape_of(format_)
        self._format = format_
        self._system = chat["system"]
        self._mask = mask
        self._max_length = max_length

    def __reduce__(self) -> tuple[Any, ...]:
        """What is pickled: another process loads the tokenizer by itself."""
        return type(self), self._arguments

    def __call__(self, chunk: Chunk) -> tuple[list[Row], Tally]:
        """The rows of a chunk in the order of its lines, and what became of these.

        Raises:
            UserError: a line cannot be read, or is no record of the kind that the format takes.
        """
        tally = Tally(chunk.number)
        rows: list[Row] = []
        lines = parse_jsonl(chunk.lines(), chunk.file, chunk.first)
        for example in examples_of(lines, self._format, tally.unusable):
            messages = with_system(example.messages, None, self._system)
            tally.counts["examples"] += 1
            said = [*(message["content"] for message in example.messages), example.rejected or ""]
            tally.counts["with_marks"] += any(mark in text for text in said for mark in self.chat.marks)
            tally.counts["with_system"] += self._system is not None and messages[0]["content"] == self._system
            try:
                rows += self.shape.rows_of(self.chat, example, messages, self._mask, self._max_length, tally)
            except UserError as error:  # one that the template refuses takes no other with it
                tally.unusable[str(error)] += 1
        return rows, tally
