"""A folder of cleaned data: records by split, what they hold, and what became of the others."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from loragrid.data.drops import SPLITS
from loragrid.data.statistics import Counts
from loragrid.files import sha256_of, write_json, write_jsonl


@contextlib.contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A folder beside the one to come, for what is not finished; it is gone at the end.

    Args:
        out: the folder to come.
    """
    work = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_splits(
    work: Path, records: Mapping[str, Iterable[dict[str, Any]]], facets: Sequence[str] = ()
) -> dict[str, int]:
    """Write the records of each split, and statistics.json.

    Args:
        work: an unfinished folder.
        records: of each split, read as they are written.
        facets: names in `meta` whose values are counted.

    Returns:
        How many records there are of each split.
    """
    statistics = {}
    for split in SPLITS:
        counts = Counts(facets)
        write_jsonl(work / f"{split}.jsonl", counts.over(iter(records[split])))
        statistics[split] = counts.summary()
    write_json(work / "statistics.json", statistics)
    return {split: statistics[split]["records"] for split in SPLITS}


def publish(work: Path, out: Path, cleaning: Mapping[str, Any]) -> None:
    """Move the files into place, cleaning.json last: who finds it finds all the others, of the same cleaning.

    Args:
        work: an unfinished folder with its splits.
        out: the folder; what an earlier cleaning left there is replaced.
        cleaning: for cleaning.json, beside the files' hashes.
    """
    hashes = {f"{split}.jsonl": sha256_of(work / f"{split}.jsonl") for split in SPLITS}
    write_json(work / "cleaning.json", {**cleaning, "sha256": hashes})
    out.mkdir(parents=True, exist_ok=True)
    (out / "cleaning.json").unlink(missing_ok=True)
    for name in [*(f"{split}.jsonl" for split in SPLITS), "statistics.json", "cleaning.json"]:
        (work / name).replace(out / name)


def short(wanted: Mapping[str, int], available: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """What a study asks for and the data does not have.

    Args:
        wanted: records by split, or by whatever is chosen from.
        available: those there are.
    """
    return {
        name: {"wanted": number, "kept": available[name]} for name, number in wanted.items() if available[name] < number
    }
