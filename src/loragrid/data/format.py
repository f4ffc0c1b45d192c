"""Format: cleaned records as tokenised, masked rows for one model, so that training only uses its GPU."""

import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Features, List, Value
from datasets.arrow_writer import ArrowWriter

from loragrid.data.examples import examples_of
from loragrid.data.fit import Fitted, fitted_rows
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import with_system
from loragrid.modeling.tokenizer import load_chat
from loragrid.progress import each

IGNORED = -100
"""The label of a token without loss (torch's cross_entropy)."""

FEATURES = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32")), "length": Value("int32")})


def format_dataset(
    clean: Path,
    model: Path,
    out: Path,
    *,
    key: str,
    format_: Mapping[str, Any],
    chat: Mapping[str, Any],
    mask: str,
    max_length: int,
) -> None:
    """Write train.arrow and validation.arrow, then format.json.

    Each row has `input_ids` and `labels` (int32, `length` of each), at most `max_length`: of longer dialogues the
    oldest turns are left out, and where even the last question and its answer are too long, or nothing carries loss,
    there is no row. All of it is counted.

    Args:
        clean: folder of the cleaned dataset.
        model: folder of the model, for its tokenizer.
        out: folder to write.
        key: the formatted data's key, recorded.
        format_: resolved format: what the records become.
        chat: `template` (a name or a file in place of the tokenizer's, or None), its `arguments` and `date`, and the
            `system` prompt for dialogues without one.
        mask: `answers` for a loss on the assistant's answers only, `all` for every token.
        max_length: longest row in tokens.

    Raises:
        UserError: no row of a split is left.
    """
    loaded = load_chat(str(model), chat)
    temporary = out.with_name(f".{out.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        splits = {
            split: _format_split(
                loaded,
                clean / f"{split}.jsonl",
                temporary / f"{split}.arrow",
                format_,
                chat["system"],
                mask,
                max_length,
            )
            for split in ("train", "validation")
        }
        settings = {"format": format_, "mask": mask, "max_length": max_length}
        warnings = [*loaded.warnings(), *_warnings(chat["system"], splits["train"])]
        for warning in warnings:
            print(f"warning: {warning}", flush=True)
        settings |= {"chat": loaded.describe(), "warnings": warnings}
        write_json(temporary / "format.json", {"key": key, **settings, "splits": splits})
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _format_split(
    chat: Chat,
    source: Path,
    target: Path,
    format_: Mapping[str, Any],
    system: str | None,
    mask: str,
    max_length: int,
) -> dict[str, Any]:
    names = ("examples", "rows", "tokens", "answer_tokens", "shortened", "too_long", "without_loss")
    counts = dict.fromkeys((*names, "split_borders", "unknown_tokens", "with_system", "with_marks"), 0)
    lengths: list[int] = []
    unusable: dict[str, int] = {}
    with ArrowWriter(path=str(target), features=FEATURES) as writer:
        lines = each(read_jsonl(source), f"formatting {source.stem}")
        for example in examples_of(lines, format_, unusable):
            counts["examples"] += 1
            counts["with_marks"] += any(mark in m["content"] for m in example.messages for mark in chat.marks)
            messages = with_system(example.messages, None, system)
            counts["with_system"] += system is not None and messages[0]["content"] == system
            try:
                fitted = list(fitted_rows(chat, messages, max_length, whole_only=mask == "all"))
            except UserError as error:  # one that the template refuses takes no other with it
                unusable[str(error)] = unusable.get(str(error), 0) + 1
                continue
            lengths += [row.length for row in fitted]
            for row in _rows(chat, fitted, mask, counts):
                writer.write(row)
        writer.finalize()
    if counts["rows"] == 0:
        raise UserError(_nothing(source, format_, counts, unusable, max_length))
    counts["longest"] = max(lengths)
    return {**counts, "lengths": _quantiles(lengths), "unusable": dict(sorted(unusable.items()))}


def _warnings(system: str | None, train: Mapping[str, Any]) -> list[str]:
    """What will surprise those who do not know it, of the rows to train on."""
    found = []
    if system and not train["with_system"]:
        found.append("every dialogue has a system message of its own, so that the chat's changes nothing")
    if train["with_marks"]:
        found.append(
            f"{train['with_marks']} examples have words in them that the tokenizer takes for the marks of a chat, such "
            "as the end of a turn: to the model they are"
        )
    if train["unknown_tokens"]:
        found.append(
            f"{train['unknown_tokens']} tokens are unknown to the tokenizer: it has none for what stands there"
        )
    return found


def _nothing(
    source: Path,
    format_: Mapping[str, Any],
    counts: Mapping[str, int],
    unusable: Mapping[str, int],
    max_length: int,
) -> str:
    """Why no row is left of a split."""
    if counts["too_long"]:
        return (
            f"{source}: of {counts['examples']} examples none has an answer within max_length={max_length} tokens; "
            "raise max_length in the recipe"
        )
    why = "".join(f"\n  - {reason}: {number}" for reason, number in sorted(unusable.items()))
    why = why or "; set `splits` of this dataset, such as {validation: 0.1}"
    return f"{source}: nothing to learn from for the format {format_['name']!r}{why}"


def _quantiles(lengths: list[int]) -> dict[str, int]:
    """How long rows are, in tokens and before anything is left out: the length that a share of them does not exceed."""
    ordered = sorted(lengths)
    return {f"{share}%": ordered[math.ceil(share / 100 * len(ordered)) - 1] for share in (5, 25, 50, 75, 95, 99, 100)}


def _rows(chat: Chat, fitted: list[Fitted], mask: str, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    for row in fitted:
        encoded = row.encoded
        if encoded is None:
            counts["too_long"] += 1
            continue
        learned = encoded.is_answer if mask == "answers" else [True] * len(encoded.ids)
        labels = [token if learn else IGNORED for token, learn in zip(encoded.ids, learned, strict=True)]
        # The first token has nothing before it to be predicted from.
        if all(label == IGNORED for label in labels[1:]):
            counts["without_loss"] += 1
            continue
        counts["rows"] += 1
        counts["shortened"] += row.left_out > 0
        counts["split_borders"] += encoded.split
        counts["unknown_tokens"] += sum(id_ == chat.unknown_token for id_ in encoded.ids)
        counts["tokens"] += len(labels)
        counts["answer_tokens"] += sum(label != IGNORED for label in labels[1:])
        yield {"input_ids": encoded.ids, "labels": labels, "length": len(labels)}
