"""Format: cleaned records as tokenised, masked rows for one model, so that training only uses its GPU."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from datasets import Features, List, Value
from datasets.arrow_writer import ArrowWriter

from loragrid.data.examples import examples_of
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json
from loragrid.modeling.chat import Chat
from loragrid.modeling.messages import Message, with_system
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

    Each row has `input_ids` and `labels` (int32, `length` of each), cut at `max_length`; rows without any token to
    learn are dropped and counted.

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
    for warning in loaded.warnings():
        print(f"warning: {warning}", flush=True)
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
        settings |= {"chat": loaded.describe(), "warnings": loaded.warnings()}
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
    counts = {"examples": 0, "rows": 0, "tokens": 0, "answer_tokens": 0, "cut": 0, "dropped": 0, "longest": 0}
    counts |= {"merged_borders": 0, "unknown_tokens": 0}
    unusable: dict[str, int] = {}
    with ArrowWriter(path=str(target), features=FEATURES) as writer:
        lines = each(read_jsonl(source), f"formatting {source.stem}")
        for example in examples_of(lines, format_, unusable):
            counts["examples"] += 1
            for row in _rows(chat, with_system(example.messages, None, system), mask, max_length, counts):
                writer.write(row)
        writer.finalize()
    if counts["rows"] == 0:
        if counts["examples"] == 0:
            why = "".join(f"\n  - {reason}: {number}" for reason, number in sorted(unusable.items()))
            why = why or "; set `splits` of this dataset, such as {validation: 0.1}"
            raise UserError(f"{source}: nothing to learn from for the format {format_['name']!r}{why}")
        raise UserError(
            f"{source}: of {counts['examples']} examples none has an answer within max_length={max_length} tokens; "
            "raise max_length in the recipe"
        )
    return {**counts, "unusable": dict(sorted(unusable.items()))}


def _rows(
    chat: Chat, messages: list[Message], mask: str, max_length: int, counts: dict[str, int]
) -> Iterator[dict[str, Any]]:
    encoded_rows = chat.encode(messages)
    if mask == "all":
        encoded_rows = encoded_rows[-1:]  # the whole dialogue; the others are its beginnings
    for encoded in encoded_rows:
        learned = encoded.is_answer if mask == "answers" else [True] * len(encoded.ids)
        labels = [token if learn else IGNORED for token, learn in zip(encoded.ids, learned, strict=True)]
        counts["longest"] = max(counts["longest"], len(labels))
        counts["cut"] += len(labels) > max_length
        labels = labels[:max_length]
        # The first token has nothing before it to be predicted from.
        if all(label == IGNORED for label in labels[1:]):
            counts["dropped"] += 1
            continue
        counts["rows"] += 1
        counts["merged_borders"] += encoded.merged
        counts["unknown_tokens"] += encoded.ids[:max_length].count(chat.tokenizer.unk_token_id)
        counts["tokens"] += len(labels)
        counts["answer_tokens"] += sum(label != IGNORED for label in labels[1:])
        yield {"input_ids": encoded.ids[:max_length], "labels": labels, "length": len(labels)}
