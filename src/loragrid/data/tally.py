"""What became of examples, in counts that add up: so pieces of a dataset can be counted apart."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts over examples and the rows that they made.

    Args:
        lines: that were read.
        counts: by name.
        lengths: how many rows there are of each length in tokens before anything is left out, by what is measured.
        unusable: records and examples of which no row can be made, by reason.
    """

    lines: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    unusable: Counter[str] = field(default_factory=Counter)

    def measured(self, what: str, length: int) -> None:
        """Count a length.

        Args:
            what: is so long, e.g. `rows`.
            length: in tokens.
        """
        self.lengths.setdefault(what, Counter())[length] += 1

    def add(self, other: "Tally") -> None:
        """Add the counts of another piece."""
        self.lines += other.lines
        self.counts.update(other.counts)
        self.unusable.update(other.unusable)
        for what, lengths in other.lengths.items():
            self.lengths.setdefault(what, Counter()).update(lengths)
