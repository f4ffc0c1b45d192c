"""Rows for learning from preferences: the tokens of a dialogue once, and those of both answers to it.

The columns are those that TRL's DPOTrainer makes when it tokenises by itself, and that its collator takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Features, List, Value

from loragrid.data.fit import fitted_pair
from loragrid.data.formats.base import Example
from loragrid.data.tally import Tally
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message

FEATURES = Features(
    {
        "prompt_ids": List(Value("int32")),
        "chosen_ids": List(Value("int32")),
        "rejected_ids": List(Value("int32")),
        "length": Value("int32"),
    }
)

MEASURED = ("longer", "chosen", "rejected")

EQUAL = "both answers are the same tokens to the model"


def rows_of(
    chat: Chat, example: Example, messages: Sequence[Message], mask: str, max_length: int, tally: Tally
) -> Iterator[Mapping[str, Any]]:
    """See `loragrid.data.rows.Shape.rows_of`; the loss is on both answers, whatever the mask."""
    fitted = fitted_pair(chat, messages, example.rejected or "", max_length)
    pair = fitted.encoded
    lengths = fitted.chosen_length, fitted.rejected_length
    for what, length in zip(MEASURED, (max(lengths), *lengths), strict=True):
        tally.measured(what, length)
    if pair is None:
        tally.counts["too_long"] += 1
        return
    if not pair.chosen or not pair.rejected:
        tally.counts["without_loss"] += 1
        return
    if pair.chosen == pair.rejected:
        tally.unusable[EQUAL] += 1
        return
    answer_tokens = len(pair.chosen) + len(pair.rejected)
    counts = tally.counts
    counts["rows"] += 1
    counts["shortened"] += fitted.left_out > 0
    counts["split_borders"] += pair.split
    counts["unknown_tokens"] += sum(id_ == chat.unknown_token for id_ in (*pair.prompt, *pair.chosen, *pair.rejected))
    counts["tokens"] += 2 * len(pair.prompt) + answer_tokens
    counts["answer_tokens"] += answer_tokens
    length = len(pair.prompt) + max(len(pair.chosen), len(pair.rejected))
    yield {"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected, "length": length}
