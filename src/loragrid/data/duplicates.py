"""Records that are there twice, and those that would let a model see in training what it is asked later."""

from loragrid.data.drops import SPLITS, Drops
from loragrid.data.entries import AnyEntry


def without_duplicates(entries: list[AnyEntry], drops: Drops) -> list[AnyEntry]:
    """Records without those whose messages are an earlier one's of the same split.

    Args:
        entries: records.
        drops: counts the others.
    """
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


def without_leaks(entries: list[AnyEntry], drops: Drops) -> dict[str, list[AnyEntry]]:
    """Records by split, less those of which what is asked is also in a later split.

    Args:
        entries: records, each in train, validation or test.
        drops: counts the others.
    """
    by_split: dict[str, list[AnyEntry]] = {split: [] for split in SPLITS}
    for entry in entries:
        by_split[entry.split].append(entry)
    later: dict[bytes, str] = {}
    for split in reversed(SPLITS):
        kept = []
        for entry in by_split[split]:
            if entry.asked in later:
                drops.add(f"also in {later[entry.asked]}", where=entry.where, split=split, rows=entry.rows)
            else:
                kept.append(entry)
        for entry in kept:
            later.setdefault(entry.asked, split)
        by_split[split] = kept
    return by_split
