"""Mixtures: one dataset out of several cleaned ones, each with its weight or its number of rows."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from loragrid.data.cleaned import publish, short, unfinished, write_splits
from loragrid.data.drops import SPLITS, Drops
from loragrid.data.duplicates import without_duplicates, without_leaks
from loragrid.data.entries import Entry, drawn, fingerprint
from loragrid.data.records import content, from_json, question
from loragrid.data.splits import choose
from loragrid.errors import UserError

By = Literal["weights", "counts"]


@dataclass(frozen=True)
class Part:
    """One of the datasets that are mixed.

    Args:
        name: in the study.
        folder: of the cleaned dataset.
        number: its weight, or how many of its records to train on.
    """

    name: str
    folder: Path
    number: float


@dataclass(slots=True)
class _Entry(Entry):
    """A record, and the name of the dataset that it is of."""

    part: str


@dataclass(frozen=True)
class _Taken:
    """What a split of the mixture has of one of its parts.

    Args:
        wanted: records, by the weights or counts.
        available: different records that there are.
        kept: records in the mixture, repeats included.
        repeats: those of `kept` that are there a second time or more often.
    """

    wanted: int
    available: int
    kept: int
    repeats: int


def mix(
    parts: Sequence[Part],
    out: Path,
    *,
    by: By,
    repeat: bool,
    rows: Mapping[str, int],
    seed: int,
    needs: Sequence[str] = SPLITS,
) -> None:
    """Mix cleaned datasets.

    Writes what `clean` writes. Duplicates and leaks between the datasets are dropped, and counted. With weights, there
    are `rows` records to train on, or as many as there can be in these shares without a repeat. Validation and test
    have all that their parts have, or `rows` in the shares of the weights or counts. Where a part has fewer records
    than wanted, no other takes their place.

    Args:
        parts: in the order in which they are written; of two equal records the first stays.
        out: folder for the mixture; what an earlier one left there is replaced.
        by: what the numbers of the parts are.
        repeat: whether records to train on are repeated where a part has too few; in whole rounds, then by seed.
        rows: how many records a split has in all.
        seed: decides which records are kept.
        needs: splits that must not be empty.

    Raises:
        UserError: nothing is left of a split that is needed.
    """
    drops = Drops()
    entries = without_duplicates([entry for part in parts for entry in _entries(part, drops, seed)], drops)
    by_split = without_leaks(entries, drops)
    taken: dict[str, dict[str, _Taken]] = {}
    chosen: dict[str, list[_Entry]] = {}
    for split in SPLITS:
        of_parts: dict[str, list[_Entry]] = {part.name: [] for part in parts}
        for entry in by_split[split]:
            of_parts[entry.part].append(entry)
        available = {name: len(found) for name, found in of_parts.items()}
        if split == "train" and by == "counts":
            wanted = {part.name: int(part.number) for part in parts}
        elif split != "train" and split not in rows:
            wanted = available
        else:
            wanted = _shared({part.name: part.number for part in parts}, available, rows.get(split))
        chosen[split], taken[split] = [], {}
        for name, found in of_parts.items():
            kept = _filled(found, wanted[name], repeat=repeat and split == "train")
            repeats = max(0, len(kept) - len(found))
            taken[split][name] = _Taken(wanted[name], len(found), len(kept), repeats)
            chosen[split] += kept
        if split in needs and not chosen[split]:
            raise UserError(_empty(split, [part.name for part in parts], drops))
    with unfinished(out) as work:
        kept_of = write_splits(work, {split: _records(parts, split, chosen[split]) for split in SPLITS}, ["dataset"])
        publish(
            work,
            out,
            {
                "mixture": {part.name: part.number for part in parts},
                "by": by,
                "repeat": repeat,
                "rows": dict(rows),
                "seed": seed,
                "kept": kept_of,
                "parts": {
                    split: {name: asdict(of_part) for name, of_part in of_split.items()}
                    for split, of_split in taken.items()
                },
                "shares": {split: _shares(of_split) for split, of_split in taken.items()},
                "short": {
                    split: missing
                    for split, of_split in taken.items()
                    if (
                        missing := short(
                            {name: each.wanted for name, each in of_split.items()},
                            {name: each.kept for name, each in of_split.items()},
                        )
                    )
                },
                "dropped": drops.summary(),
            },
        )


def _entries(part: Part, drops: Drops, seed: int) -> Iterator[_Entry]:
    for split in SPLITS:
        offset = 0
        with (part.folder / f"{split}.jsonl").open("rb") as file:
            for line in file:
                record = from_json(json.loads(line))
                drops.read(split)
                order = drawn(seed, "rows", f"{part.name}/{record.id}")
                content_, asked_ = fingerprint(content(record)), fingerprint(question(record))
                where = f"{part.name}/{record.id}"
                yield _Entry(split, offset, b"", where, 1, order, content_, asked_, part.name)
                offset += len(line)


def _shared(numbers: Mapping[str, float], available: Mapping[str, int], total: int | None) -> dict[str, int]:
    """How many records of each part make up a total in these shares; rounded by largest remainder.

    Args:
        numbers: weights by part.
        available: records there are.
        total: records in all; None for the most that there can be without a repeat.
    """
    whole = sum(numbers.values())
    if total is None:
        total = math.floor(min(available[name] * whole / number for name, number in numbers.items()) + 1e-9)
    exact = {name: total * number / whole for name, number in numbers.items()}
    wanted = {name: math.floor(share + 1e-9) for name, share in exact.items()}
    left = total - sum(wanted.values())
    for name in sorted(exact, key=lambda name: wanted[name] - exact[name])[:left]:
        wanted[name] += 1
    return wanted


def _filled(entries: list[_Entry], wanted: int, *, repeat: bool) -> list[_Entry]:
    """As many records as wanted: each once, and with `repeat` again and again until there are enough."""
    if not repeat or not entries:
        return _some(entries, wanted)
    rounds, rest = divmod(wanted, len(entries))
    return entries * rounds + _some(entries, rest)


def _some(entries: list[_Entry], number: int) -> list[_Entry]:
    return choose(entries, number) if number else []


def _records(parts: Sequence[Part], split: str, entries: Sequence[_Entry]) -> Iterator[dict[str, Any]]:
    """The records, each with the name of its dataset in its id and in `meta`; a repeat has a number, too."""
    times: dict[str, int] = {}
    for part in parts:
        with (part.folder / f"{split}.jsonl").open("rb") as file:
            for entry in entries:
                if entry.part != part.name:
                    continue
                file.seek(entry.offset)
                record = json.loads(file.readline())
                name = f"{part.name}/{record['id']}"
                times[name] = times.get(name, 0) + 1
                name += f"#again{times[name]}" if times[name] > 1 else ""
                yield {**record, "id": name, "meta": {**record["meta"], "dataset": part.name}}


def _shares(taken: Mapping[str, _Taken]) -> dict[str, float]:
    kept = sum(each.kept for each in taken.values())
    return {name: round(each.kept / kept, 6) if kept else 0.0 for name, each in taken.items()}


def _empty(split: str, names: Sequence[str], drops: Drops) -> str:
    lines = [
        f"\n  - {reason}: {entry.count} (first: {entry.examples[0]})"
        for reason, entry in sorted(drops.reasons.get(split, {}).items())
    ]
    message = f"mixture of {', '.join(names)}: nothing is left of the {split} split"
    return message + ("; dropped:" + "".join(lines) if lines else "; none of them has any: set their `splits`")
