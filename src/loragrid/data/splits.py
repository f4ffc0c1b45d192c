"""Which records go into train, validation and test, and how many are kept: by the seed and each record alone."""

from loragrid.data.drops import SPLITS
from loragrid.data.entries import AnyEntry, Entry, drawn
from loragrid.errors import UserError


def checked_shares(splits: dict[str, float]) -> dict[str, float]:
    """The shares of splits that are made here, in a fixed order.

    Args:
        splits: of a study.

    Raises:
        UserError: they cannot be.
    """
    for name, share in splits.items():
        if name not in ("validation", "test"):
            raise UserError(f"splits.{name}: only `validation` and `test` can be set aside; the rest is train")
        if not 0 < share < 1:
            raise UserError(f"splits.{name}: {share} is not a share between 0 and 1, such as 0.1")
    if sum(splits.values()) >= 1:
        raise UserError(f"splits: {splits} leave nothing for train; their sum must be below 1")
    return {name: splits[name] for name in ("test", "validation") if name in splits}


def checked_rows(rows: dict[str, int]) -> dict[str, int]:
    """How many records of each split to keep, in a fixed order.

    Args:
        rows: of a study.

    Raises:
        UserError: they cannot be.
    """
    for name, number in rows.items():
        if name not in SPLITS:
            raise UserError(f"rows.{name}: no such split; there are {', '.join(SPLITS)}")
        if number < 1:
            raise UserError(f"rows.{name}: {number} is not a number of rows to keep, 1 or more")
    return {name: rows[name] for name in SPLITS if name in rows}


def share_out(entries: list[Entry], shares: dict[str, float], seed: int, source: str) -> None:
    """Give records a split where they have none, or where shares ask for another.

    Args:
        entries: records; their split is set.
        shares: of validation and test.
        seed: of the drawing.
        source: name of the dataset's source, for messages.

    Raises:
        UserError: there are no splits, and no shares to make them by.
    """
    if not shares and any(entry.split == "all" for entry in entries):
        raise UserError(
            f"{source}: the data has no splits; set `splits` of this dataset, such as {{validation: 0.1, test: 0.1}}"
        )
    if not shares:
        return
    for entry in entries:
        if entry.split in SPLITS and entry.split != "train" and entry.split not in shares:
            continue
        place = int.from_bytes(drawn(seed, "splits", entry.origin.hex())) / 2**128
        entry.split = "train"
        for split, share in shares.items():
            if 0 <= place < share:
                entry.split = split
            place -= share


def choose(entries: list[AnyEntry], number: int | None) -> list[AnyEntry]:
    """As many records as wanted, chosen by their numbers, in their original order.

    Args:
        entries: of one split.
        number: how many; None for all.
    """
    if number is None or number >= len(entries):
        return entries
    last = sorted(entry.order for entry in entries)[number - 1]
    return [entry for entry in entries if entry.order <= last][:number]
