"""What a study's table says has failed, although every file of it is there."""

import csv
from pathlib import Path

MOST = 5
"""Reasons to tell."""


def failed_rows(table: Path) -> list[str]:
    """Lines for people about the rows of a table that are `failed`; none if there are none.

    Args:
        table: comparison.csv of a study.
    """
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        return []
    lines = [f"{len(failed)} of {len(rows)} rows of {table} failed, and their numbers are missing:"]
    lines += [f"  - {row['model']}, {row['run']}, {row['evaluation']}: {row['reason']}" for row in failed[:MOST]]
    return lines if len(failed) <= MOST else [*lines, f"  - and {len(failed) - MOST} more"]
