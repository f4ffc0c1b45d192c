"""The count of what is read and of what is dropped, so that nothing is lost silently."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

SPLITS = ("train", "validation", "test")
"""The splits that cleaning writes."""

EXAMPLES = 5
"""Places kept for each reason of a drop: enough to look it up, without listing the dataset."""


@dataclass
class Reason:
    """How often something was dropped for one reason, and where the first cases are."""

    count: int = 0
    rows: int = 0
    examples: list[str] = field(default_factory=list)


class Drops:
    """Counts raw rows read and what is dropped of them, so that nothing is lost silently."""

    def __init__(self) -> None:
        self.rows_read: Counter[str] = Counter()
        self.reasons: dict[str, dict[str, Reason]] = {}

    def read(self, split: str, rows: int = 1) -> None:
        """Count raw rows as read.

        Args:
            split: train, validation, test or all.
            rows: how many.
        """
        self.rows_read[split] += rows

    def add(self, reason: str, *, where: str, split: str, rows: int = 1) -> None:
        """Count one thing (a row, a dialogue) as dropped.

        Args:
            reason: why, in plain English; the same words each time, since they are counted.
            where: `file:line`, the file relative to the raw folder.
            split: train, validation, test or all.
            rows: how many raw rows the thing consists of.
        """
        entry = self.reasons.setdefault(split, {}).setdefault(reason, Reason())
        entry.count += 1
        entry.rows += rows
        if len(entry.examples) < EXAMPLES:
            entry.examples.append(where)

    def summary(self) -> dict[str, dict[str, Any]]:
        """What was dropped of each split, by reason, for cleaning.json."""
        return {
            split: {reason: asdict(entry) for reason, entry in sorted(reasons.items())}
            for split, reasons in sorted(self.reasons.items())
        }
