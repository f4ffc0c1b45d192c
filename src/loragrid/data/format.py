"""Format: cleaned records as tokenised, masked rows for one model, so that training only uses its GPU."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Features
from datasets.arrow_writer import ArrowWriter

from loragrid.data.chunks import Chunk, chunks_of
from loragrid.data.lengths import histogram, quantiles
from loragrid.data.rows import COUNTS, Formatter, Row
from loragrid.data.tally import Tally
from loragrid.errors import UserError
from loragrid.files import write_json
from loragrid.jobs.workers import Workers
from loragrid.progress import bar


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
    workers: int = 1,
) -> None:
    """Write train.arrow and validation.arrow, then format.json.

    Each row has `input_ids` and `labels` (int32, `length` of each), at most `max_length`: of longer dialogues the
    oldest turns are left out, and where even the last question and its answer are too long, or nothing carries loss,
    there is no row. A row of a preference pair has `prompt_ids`, `chosen_ids` and `rejected_ids` (int32), of which the
    first with the longer of the others are `length`; there is none where both answers are the same to the model. All
    of it is counted.

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
        workers: processes that share the work where there is enough of it; what is written does not depend on it.

    Raises:
        UserError: no row of a split is left, or a line cannot be read.
    """
    formatter = Formatter(model, format_, chat, mask, max_length)
    temporary = out.with_name(f".{out.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        splits = {}
        with Workers(workers, formatter) as processes:
            for split in ("train", "validation"):
                source = clean / f"{split}.jsonl"
                tally = _format_split(processes, source, temporary / f"{split}.arrow", formatter.shape.FEATURES)
                if not tally.counts["rows"]:
                    raise UserError(_nothing(source, format_["name"], tally, max_length))
                splits[split] = _describe(tally, *formatter.shape.MEASURED)
        settings = {"format": format_, "mask": mask, "max_length": max_length}
        warnings = [*formatter.chat.warnings(), *_warnings(chat["system"], splits["train"])]
        for warning in warnings:
            print(f"warning: {warning}", flush=True)
        settings |= {"chat": formatter.chat.describe(), "warnings": warnings}
        write_json(temporary / "format.json", {"key": key, **settings, "splits": splits})
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _format_split(
    processes: Workers[Chunk, tuple[list[Row], Tally]], source: Path, target: Path, features: Features
) -> Tally:
    """Write the rows of a split, and tell what became of its examples."""
    total = Tally()
    with (
        ArrowWriter(path=str(target), features=features) as writer,
        bar(f"formatting {source.stem}") as advance,
    ):
        for rows, tally in processes.map(chunks_of(source)):
            total.add(tally)
            for row in rows:
                writer.write(row)
            advance(tally.lines)
        writer.finalize()
    return total


def _describe(tally: Tally, row: str, *parts: str) -> dict[str, Any]:
    """What format.json says of a split: of the lengths of its rows, and of their parts where they have several."""
    return {
        **{name: tally.counts[name] for name in COUNTS},
        "longest": max(tally.lengths[row]),
        "lengths": quantiles(tally.lengths[row]),
        **{f"{part}_lengths": quantiles(tally.lengths[part]) for part in parts},
        "histograms": {what: histogram(tally.lengths[what]) for what in parts or (row,)},
        "unusable": dict(sorted(tally.unusable.items())),
    }


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


def _nothing(source: Path, format_name: str, tally: Tally, max_length: int) -> str:
    """Why no row is left of a split."""
    if tally.counts["too_long"]:
        return (
            f"{source}: of {tally.counts['examples']} examples none fits max_length={max_length} tokens, even without "
            "its oldest turns; raise max_length in the recipe"
        )
    why = "".join(f"\n  - {reason}: {number}" for reason, number in sorted(tally.unusable.items()))
    why = why or "; set `splits` of this dataset, such as {validation: 0.1}"
    return f"{source}: nothing to learn from for the format {format_name!r}{why}"
