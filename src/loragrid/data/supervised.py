"""Rows for supervised fine-tuning: a dialogue's tokens, and the same as labels where they carry loss."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Features, List, Value

from loragrid.data.fit import fitted_rows
from loragrid.data.formats.base import Example
from loragrid.data.tally import Tally
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message

IGNORED = -100
"""The label of a token without loss (torch's cross_entropy)."""

FEATURES = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32")), "length": Value("int32")})

MEASURED = ("rows",)


def rows_of(
    chat: Chat, example: Example, messages: Sequence[Message], mask: str, max_length: int, tally: Tally
) -> Iterator[Mapping[str, Any]]:
    """See `loragrid.data.rows.Shape.rows_of`."""
    # All rows of a dialogue before any is counted: the template may refuse it at a later answer.
    for row in list(fitted_rows(chat, messages, max_length, whole_only=mask == "all")):
        tally.measured("rows", row.length)
        encoded = row.encoded
        if encoded is None:
            tally.counts["too_long"] += 1
            continue
        learned = encoded.is_answer if mask == "answers" else [True] * len(encoded.ids)
        labels = [token if learn else IGNORED for token, learn in zip(encoded.ids, learned, strict=True)]
        # The first token has nothing before it to be predicted from.
        answer_tokens = sum(label != IGNORED for label in labels[1:])
        if not answer_tokens:
            tally.counts["without_loss"] += 1
            continue
        counts = tally.counts
        counts["rows"] += 1
        counts["shortened"] += row.left_out > 0
        counts["split_borders"] += encoded.split
        counts["unknown_tokens"] += sum(id_ == chat.unknown_token for id_ in encoded.ids)
        counts["tokens"] += len(labels)
        counts["answer_tokens"] += answer_tokens
        yield {"input_ids": encoded.ids, "labels": labels, "length": len(labels)}
