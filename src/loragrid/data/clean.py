"""Clean: any source's raw files become train, validation and test records in one format, and everything is counted."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from loragrid.data.changes import Change
from loragrid.data.cleaned import publish, short, unfinished, write_splits
from loragrid.data.drops import SPLITS, Drops
from loragrid.data.duplicates import without_duplicates, without_leaks
from loragrid.data.entries import Entry, drawn, fingerprint
from loragrid.data.records import Dropped, Record, content, fault, question, to_json
from loragrid.data.sources import SOURCES
from loragrid.data.splits import checked_rows, checked_shares, choose, share_out
from loragrid.data.steps import STEPS
from loragrid.errors import UserError
from loragrid.progress import each
from loragrid.study.choices import found


def clean(
    raw: Path,
    out: Path,
    source: str,
    read: dict[str, Any],
    steps: Sequence[Mapping[str, Any]],
    *,
    splits: dict[str, float] | None,
    rows: dict[str, int] | None,
    seed: int,
    needs: Sequence[str] = SPLITS,
) -> None:
    """Clean a dataset.

    Writes train.jsonl, validation.jsonl, test.jsonl, statistics.json and, last, cleaning.json. The same input gives
    the same bytes.

    Args:
        raw: the raw files.
        out: folder for the cleaned files; what an earlier cleaning left there is replaced.
        source: name of the source that reads the raw files.
        read: the source's options.
        steps: resolved cleaning steps, in their order.
        splits: shares for `validation` and `test` to be made here. Needed for a dataset without splits; a split that
            is named is made anew, its own records joining those that are shared out.
        rows: how many records of a split to keep.
        seed: decides which records go into which split and which are kept.
        needs: splits that must not be empty.

    Raises:
        UserError: the raw files or the settings are wrong, or nothing is left of a split that is needed.
    """
    reader = SOURCES[source]
    settings = reader.Options.model_validate(read)
    changes = [_begin(step) for step in steps]
    shares = checked_shares(splits or {})
    wanted = checked_rows(rows or {})
    drops = Drops()

    with unfinished(out) as work:
        spool = work / "records"
        with spool.open("wb") as file:
            records = each(reader.read(raw, settings, drops), f"cleaning {source}")
            entries = list(_entries(records, file, drops, changes, seed))
        entries = without_duplicates(entries, drops)
        share_out(entries, shares, seed, source)
        by_split = without_leaks(entries, drops)
        for split in needs:
            if not by_split[split]:
                raise UserError(_empty(split, source, shares, drops, raw))
        available = {split: len(by_split[split]) for split in SPLITS}
        by_split = {split: choose(by_split[split], wanted.get(split)) for split in SPLITS}
        taken: set[str] = set()
        with spool.open("rb") as file:
            kept = write_splits(
                work, {split: _records(by_split[split], file, taken) for split in SPLITS}, reader.FACETS
            )
        spool.unlink()
        publish(
            work,
            out,
            {
                "source": source,
                "version": reader.VERSION,
                "read_with": settings.model_dump(mode="json"),
                "splits": shares,
                "rows": wanted,
                "seed": seed,
                "read": dict(drops.rows_read),
                "available": available,
                "kept": kept,
                "short": short(wanted, available),
                "dropped": drops.summary(),
                "steps": [change.summary() for change in changes],
            },
        )


def _begin(choice: Mapping[str, Any]) -> Change:
    step, options = found("step", choice, STEPS)
    return Change(choice, step.begin(options))


def _entries(
    records: Iterable[tuple[str, Record]], spool: BinaryIO, drops: Drops, changes: Sequence[Change], seed: int
) -> Iterator[Entry]:
    """Clean each record, write it to the spool file and keep what is compared later."""
    for split, raw in records:
        record: Record | Dropped = raw
        for change in changes:
            if isinstance(record, str):
                break
            record = change.over(record, split)
        reason = record if isinstance(record, str) else fault(record)
        if isinstance(record, str) or reason is not None:
            drops.add(str(reason), where=raw.where, split=split, rows=raw.rows)
            continue
        try:
            line = json.dumps(to_json(record), ensure_ascii=False, allow_nan=False).encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, as a JSON escape can hold
            drops.add("text is not valid Unicode", where=raw.where, split=split, rows=raw.rows)
            continue
        except TypeError:
            drops.add("meta has a value that is no JSON", where=raw.where, split=split, rows=raw.rows)
            continue
        except ValueError:
            drops.add("meta has a number that is none (NaN or infinite)", where=raw.where, split=split, rows=raw.rows)
            continue
        offset = spool.tell()
        spool.write(line + b"\n")
        order = drawn(seed, "rows", record.id)
        yield Entry(
            split,
            offset,
            fingerprint(question(raw)),
            record.where,
            record.rows,
            order,
            fingerprint(content(record)),
            fingerprint(question(record)),
        )


def _empty(split: str, source: str, shares: dict[str, float], drops: Drops, raw: Path) -> str:
    """The message for a split of which nothing is left."""
    pools = [name for name in ("all", *SPLITS) if name in drops.rows_read or name in drops.reasons]
    if not pools:
        files = sorted(path.name for path in raw.iterdir()) if raw.is_dir() else []
        return f"{source}: there is not one row in the data ({raw}: {', '.join(files)})"
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
    if split == "train" and pools and not {"all", "train"} & set(pools):
        message += f", all of them {' or '.join(pools)} by the names of their files: rename these"
    if lines:
        return "\n".join([f"{message}; dropped:", *lines])
    return f"{message}, none dropped; raise its share in `splits` or add data"


def _records(entries: list[Entry], spool: BinaryIO, taken: set[str]) -> Iterator[dict[str, Any]]:
    """Read records back; an id that another record has already gets a number, since results are told by id."""
    for entry in entries:
        spool.seek(entry.offset)
        record = json.loads(spool.readline())
        name, number = record["id"], 1
        while name in taken:
            number += 1
            name = f"{record['id']}#{number}"
        taken.add(name)
        yield {**record, "id": name}
