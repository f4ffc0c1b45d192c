"""What each cleaning step did: how many records it changed or dropped, and the first of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loragrid.data.records import Dropped, Record, content, texts
from loragrid.data.steps.base import Apply
from loragrid.errors import shortened

EXAMPLES = 3
BEFORE = 20
"""Characters that an example shows before the first difference."""


@dataclass
class Change:
    """What one step did.

    Args:
        choice: its name, version and options.
        apply: the step.
    """

    choice: Mapping[str, Any]
    apply: Apply
    changed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, str]] = field(default_factory=list)

    def over(self, record: Record, split: str) -> Record | Dropped:
        """Do the step for one record, and count it."""
        new = self.apply(record, split)
        if isinstance(new, str):
            self.dropped[split] += 1
            self._show(record, {"before": shortened(next(iter(texts(record)), "")), "dropped": new})
        elif new is not record and content(new) != content(record):
            self.changed[split] += 1
            self._show(record, _difference(texts(record), texts(new)))
        return new

    def summary(self) -> dict[str, Any]:
        """For cleaning.json."""
        return {
            "step": self.choice["name"],
            "version": self.choice["version"],
            "options": self.choice["options"],
            "changed": dict(sorted(self.changed.items())),
            "dropped": dict(sorted(self.dropped.items())),
            "examples": self.examples,
        }

    def _show(self, record: Record, what: dict[str, str]) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append({"where": record.where, **what})


def _difference(before: Sequence[str], after: Sequence[str]) -> dict[str, str]:
    """The first text that differs, from a little before the place where it does."""
    place = next((n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(after))
    old = before[place] if place < len(before) else ""
    new = after[place] if place < len(after) else ""
    same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - BEFORE)
    lead = "… " if start else ""
    return {"before": lead + shortened(old[start:]), "after": lead + shortened(new[start:])}
