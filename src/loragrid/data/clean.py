"""Clean: any source's raw files become train, validation and test records in one format, and everything is counted."""

import hashlib
import json
import math
import re
import shutil
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from loragrid.data import sources
from loragrid.data.sources.base import SPLITS, Drops
from loragrid.errors import UserError
from loragrid.files import canonical, sha256_of, write_json, write_jsonl
from loragrid.progress import each

ROLES = ("system", "user", "assistant")


@dataclass(slots=True)
class Entry:
    """A record that passed, without its text: datasets may be larger than memory."""

    split: str
    offset: int
    group: str
    where: str
    rows: int
    order: bytes
    content: bytes
    dialogue: bytes


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
    shares = _shares(splits or {})
    wanted = _wanted(rows or {})
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
        entries = _without_duplicates(entries, drops)
        _share_out(entries, shares, seed, source)
        by_split = _without_leaks(entries, drops)
        for split in SPLITS:
            if not by_split[split]:
                raise UserError(_empty(split, source, shares, drops))
        available = {split: len(by_split[split]) for split in SPLITS}
        by_split = {split: _choose(by_split[split], wanted.get(split)) for split in SPLITS}

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


def _shares(splits: dict[str, float]) -> dict[str, float]:
    for name, share in splits.items():
        if name not in ("validation", "test"):
            raise UserError(f"splits.{name}: only `validation` and `test` can be set aside; the rest is train")
        if not 0 < share < 1:
            raise UserError(f"splits.{name}: {share} is not a share between 0 and 1, such as 0.1")
    if sum(splits.values()) >= 1:
        raise UserError(f"splits: {splits} leave nothing for train; their sum must be below 1")
    return {name: splits[name] for name in ("test", "validation") if name in splits}


def _wanted(rows: dict[str, int]) -> dict[str, int]:
    for name, number in rows.items():
        if name not in SPLITS:
            raise UserError(f"rows.{name}: no such split; there are {', '.join(SPLITS)}")
        if number < 1:
            raise UserError(f"rows.{name}: {number} is not a number of rows to keep, 1 or more")
    return {name: rows[name] for name in SPLITS if name in rows}


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
        reason = _fault(messages)
        if reason is None:
            merges = len(messages)
            messages = _merge(messages)
            merges -= len(messages)
            reason = _disorder(messages)
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
        order = _hash(seed, "rows", record["id"])
        # The same dialogue under another system message still gives the answers of a test away.
        dialogue = [message for message in messages if message["role"] != "system"]
        yield Entry(split, offset, group, where, rows, order, _digest(messages), _digest(dialogue))


def _digest(messages: list[dict[str, str]]) -> bytes:
    return hashlib.sha256(canonical(messages).encode()).digest()


def normalise(text: str) -> str:
    """Bring text into one form: Unicode NFC, single blanks, no blanks at the ends of lines or around the text.

    Args:
        text: any text.

    Returns:
        The text; its line breaks are kept.
    """
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(re.sub(r"\s+", " ", line).strip() for line in text.split("\n")).strip()


def _fault(messages: list[dict[str, str]]) -> str | None:
    """Why single messages cannot be used."""
    if not messages:
        return "no messages"
    for message in messages:
        if message["role"] not in ROLES:
            return "unknown role"
        if not message["content"]:
            return "empty message"
    return None


def _merge(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Join neighbouring messages of one role: chat templates want the roles to alternate."""
    joined: list[dict[str, str]] = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def _disorder(messages: list[dict[str, str]]) -> str | None:
    """Why the order of roles cannot be trained on."""
    roles = [message["role"] for message in messages]
    if roles[0] == "system":
        roles = roles[1:]
    if "system" in roles:
        return "system message in the middle"
    if not roles or roles[-1] != "assistant":
        return "does not end with an answer of the assistant"
    if roles[0] != "user":
        return "does not begin with the user"
    return None


def _hash(seed: int, purpose: str, name: str) -> bytes:
    """A number drawn for one record: it depends on nothing else, so that adding records moves no other."""
    return hashlib.sha256(f"{seed}\n{purpose}\n{name}".encode()).digest()[:16]


def _without_duplicates(entries: list[Entry], drops: Drops) -> list[Entry]:
    seen: set[tuple[str, bytes]] = set()
    kept = []
    for entry in entries:
        key = (entry.split, entry.content)
        if key in seen:
            drops.add("exact duplicate", where=entry.where, split=entry.split, rows=entry.rows)
        else:
            seen.add(key)
            kept.append(entry)
    return kept


def _share_out(entries: list[Entry], shares: dict[str, float], seed: int, source: str) -> None:
    """Give records a split where they have none, or where `splits` asks for another."""
    if not shares and any(entry.split == "all" for entry in entries):
        raise UserError(
            f"{source}: the data has no splits; set `splits` of this dataset, such as {{validation: 0.1, test: 0.1}}"
        )
    if not shares:
        return
    for entry in entries:
        if entry.split in SPLITS and entry.split != "train" and entry.split not in shares:
            continue
        place = int.from_bytes(_hash(seed, "splits", entry.group)) / 2**128
        entry.split = "train"
        for split, share in shares.items():
            if 0 <= place < share:
                entry.split = split
            place -= share


def _without_leaks(entries: list[Entry], drops: Drops) -> dict[str, list[Entry]]:
    """Records by split, less those that would let a model see in training what it is asked later."""
    by_split: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for entry in entries:
        by_split[entry.split].append(entry)
    later: dict[bytes, str] = {}
    for split in reversed(SPLITS):
        kept = []
        for entry in by_split[split]:
            if entry.dialogue in later:
                drops.add(f"also in {later[entry.dialogue]}", where=entry.where, split=split, rows=entry.rows)
            else:
                kept.append(entry)
        for entry in kept:
            later.setdefault(entry.dialogue, split)
        by_split[split] = kept
    return by_split


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


def _choose(entries: list[Entry], number: int | None) -> list[Entry]:
    """As many records as wanted, chosen by their numbers, in their original order."""
    if number is None or number >= len(entries):
        return entries
    last = sorted(entry.order for entry in entries)[number - 1]
    return [entry for entry in entries if entry.order <= last][:number]


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


class Counts:
    """Adds up what is written of a split."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.words: list[int] = []

    def over(self, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Count records while they pass.

        Args:
            records: cleaned records.

        Yields:
            The same records.
        """
        for record in records:
            messages = record["messages"]
            texts = [message["content"] for message in messages]
            words = sum(len(text.split()) for text in texts)
            self.totals["messages"] += len(messages)
            self.totals["assistant_messages"] += sum(message["role"] == "assistant" for message in messages)
            self.totals["characters"] += sum(map(len, texts))
            self.totals["words"] += words
            self.totals["bytes"] += sum(len(text.encode()) for text in texts)
            self.turns[sum(message["role"] != "system" for message in messages)] += 1
            self.words.append(words)
            yield record

    def summary(self) -> dict[str, Any]:
        """What was counted.

        Returns:
            Totals, words of a dialogue (median, and the number that 95 % of the dialogues do not exceed), and how many
            dialogues have how many turns (messages without the system's).
        """
        ordered = sorted(self.words)
        names = ("messages", "assistant_messages", "characters", "words", "bytes")
        return {
            "dialogues": len(ordered),
            **{name: self.totals[name] for name in names},
            "words_per_dialogue": {
                "median": statistics.median(ordered),
                "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
            },
            "turns": {str(number): count for number, count in sorted(self.turns.items())},
        }
