"""Clean: any source's raw files become train, validation and test records in one format, and everything is counted."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from loragrid.data import sources
from loragrid.data.duplicates import without_duplicates, without_leaks
from loragrid.data.entries import Entry, drawn
from loragrid.data.messages import alternating, disorder, fault, normalise
from loragrid.data.sources.base import SPLITS, Drops
from loragrid.data.splits import checked_rows, checked_shares, choose, share_out
from loragrid.data.statistics import Counts
from loragrid.errors import UserError
from loragrid.files import canonical, sha256_of, write_json, write_jsonl
from loragrid.progress import each


def clean(
    raw: Path,
    out: Path,
    source: str,
    options: dict[str, Any],
    *,
    splits: dict[str, float] | None,
    rows: dict[str, int] | None,
    seed: int,
) -> None:
    """Clean a dataset.

    Writes train.jsonl, validation.jsonl, test.jsonl, statistics.json and, last, cleaning.json. The same input gives
    the same bytes.

    Args:
        raw: the raw files.
        out: folder for the cleaned files; what an earlier cleaning left there is replaced.
        source: name of the source that reads the raw files.
        options: the source's cleaning options, as in the study's `steps`.
        splits: shares for `validation` and `test` to be made here. Needed for a dataset without splits; a split that
            is named is made anew, its own records joining those that are shared out.
        rows: how many records of a split to keep.
        seed: decides which records go into which split and which are kept.

    Raises:
        UserError: the raw files or the settings are wrong, or nothing is left of a split.
    """
    reader = sources.get(source)
    settings = _options(reader.Options, options, source)
    shares = checked_shares(splits or {})
    wanted = checked_rows(rows or {})
    drops = Drops()
    merged: Counter[str] = Counter()

    work = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        spool = work / "records"
        with spool.open("wb") as file:
            read = each(reader.read(raw, settings, drops), f"cleaning {source}")
            entries = list(_entries(read, file, drops, merged, seed))
        entries = without_duplicates(entries, drops)
        share_out(entries, shares, seed, source)
        by_split = without_leaks(entries, drops)
        for split in SPLITS:
            if not by_split[split]:
                raise UserError(_empty(split, source, shares, drops))
        available = {split: len(by_split[split]) for split in SPLITS}
        by_split = {split: choose(by_split[split], wanted.get(split)) for split in SPLITS}

        found = {}
        with spool.open("rb") as file:
            for split in SPLITS:
                counts = Counts()
                write_jsonl(work / f"{split}.jsonl", counts.over(_records(by_split[split], file)))
                found[split] = counts.summary()
        spool.unlink()
        write_json(work / "statistics.json", found)
        cleaning = {
            "source": source,
            "options": settings.model_dump(mode="json"),
            "splits": shares,
            "rows": wanted,
            "seed": seed,
            "read": dict(drops.rows_read),
            "available": available,
            "kept": {split: len(by_split[split]) for split in SPLITS},
            "short": {
                split: {"wanted": wanted[split], "kept": available[split]}
                for split in SPLITS
                if available[split] < wanted.get(split, 0)
            },
            "dropped": {
                split: {reason: asdict(entry) for reason, entry in sorted(reasons.items())}
                for split, reasons in sorted(drops.reasons.items())
            },
            "merged": dict(sorted(merged.items())),
            "sha256": {f"{split}.jsonl": sha256_of(work / f"{split}.jsonl") for split in SPLITS},
        }
        write_json(work / "cleaning.json", cleaning)
        _publish(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(work: Path, out: Path) -> None:
    """Move the files into place, cleaning.json last: who finds it finds all the others, of the same cleaning."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "cleaning.json").unlink(missing_ok=True)
    for name in [*(f"{split}.jsonl" for split in SPLITS), "statistics.json", "cleaning.json"]:
        (work / name).replace(out / name)


def _options(options: type[Any], given: dict[str, Any], source: str) -> Any:
    try:
        return options.model_validate(given)
    except ValidationError as error:
        lines = [
            f"  - {'.'.join(['steps', *map(str, problem['loc'])])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        ]
        known = ", ".join(options.model_fields) or "none"
        raise UserError("\n".join([f"{source}: wrong cleaning options (there are: {known})", *lines])) from None


def _entries(
    read: Iterator[tuple[str, dict[str, Any]]], spool: BinaryIO, drops: Drops, merged: Counter[str], seed: int
) -> Iterator[Entry]:
    """Clean each record, write it to the spool file and keep what later steps compare."""
    for split, record in read:
        where = str(record.get("where", record["id"]))
        rows = int(record.get("rows", 1))
        messages = [
            {"role": message["role"], "content": normalise(message["content"])} for message in record["messages"]
        ]
        reason = fault(messages)
        if reason is None:
            merges = len(messages)
            messages = alternating(messages)
            merges -= len(messages)
            reason = disorder(messages)
        record = {"id": str(record["id"]), "messages": messages, "meta": record.get("meta", {})}
        try:
            line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, as a JSON escape can hold
            reason = "text is not valid Unicode"
        if reason is not None:
            drops.add(reason, where=where, split=split, rows=rows)
            continue
        if merges:
            merged[split] += merges
        offset = spool.tell()
        spool.write(line + b"\n")
        group = str(record["meta"].get("conversation", record["id"]))
        order = drawn(seed, "rows", record["id"])
        dialogue = [message for message in messages if message["role"] != "system"]
        yield Entry(split, offset, group, where, rows, order, _digest(messages), _digest(dialogue))


def _digest(messages: list[dict[str, str]]) -> bytes:
    return hashlib.sha256(canonical(messages).encode()).digest()


def _empty(split: str, source: str, shares: dict[str, float], drops: Drops) -> str:
    """The message for a split of which nothing is left."""
    pools = [name for name in ("all", *SPLITS) if name in drops.rows_read or name in drops.reasons]
    if split not in pools and split not in shares and split != "train":
        held = ", ".join(pools) or "nothing"
        return f"{source}: the data has no {split} split (it has: {held}); set `splits`, such as {{{split}: 0.1}}"
    # A split made here has no rows of its own: what became of all rows is the answer.
    shown = [split] if split in pools and split not in shares else pools
    read = sum(drops.rows_read[name] for name in shown)
    lines = [
        f"  - {name}: {reason}: {entry.count} (first: {entry.examples[0]})"
        for name in shown
        for reason, entry in sorted(drops.reasons.get(name, {}).items())
    ]
    message = f"{source}: nothing is left of the {split} split; {read} rows were read"
    if lines:
        return "\n".join([f"{message}; dropped:", *lines])
    return f"{message}, none dropped; raise its share in `splits` or add data"


def _records(entries: list[Entry], spool: BinaryIO) -> Iterator[dict[str, Any]]:
    """Read records back; an id that a split has had already gets a number, since results are told by id."""
    seen: Counter[str] = Counter()
    for entry in entries:
        spool.seek(entry.offset)
        record = json.loads(spool.readline())
        name = record["id"]
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name}#{seen[name]}"
        yield {"id": name, "messages": record["messages"], "meta": record["meta"]}
