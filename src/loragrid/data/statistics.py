"""What a cleaned split holds, counted while it is written."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from loragrid.data.records import from_json, texts


class Counts:
    """Adds up what is written of a split.

    Args:
        facets: names in `meta` whose values are counted; a value may be a list of them.
    """

    def __init__(self, facets: Sequence[str] = ()) -> None:
        self.facets: dict[str, Counter[str]] = {name: Counter() for name in facets}
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
            messages = record.get("messages", [])
            said = texts(from_json(record))
            words = sum(len(text.split()) for text in said)
            self.totals["messages"] += len(messages)
            self.totals["assistant_messages"] += sum(message["role"] == "assistant" for message in messages)
            self.totals["characters"] += sum(map(len, said))
            self.totals["words"] += words
            self.totals["bytes"] += sum(len(text.encode()) for text in said)
            self.turns[sum(message["role"] != "system" for message in messages)] += 1
            self.words.append(words)
            for name, counter in self.facets.items():
                value = record["meta"].get(name, [])
                counter.update(map(str, value if isinstance(value, list) else [value]))
            yield record

    def summary(self) -> dict[str, Any]:
        """What was counted.

        Returns:
            Totals, words of a record (median, and the number that 95 % of the records do not exceed), how many have how
            many turns (messages without the system's), and how often each value of a facet occurs, the most frequent
            first.
        """
        ordered = sorted(self.words)
        if not ordered:
            return {"records": 0}
        names = ("messages", "assistant_messages", "characters", "words", "bytes")
        return {
            "records": len(ordered),
            **{name: self.totals[name] for name in names},
            "words_per_record": {
                "median": statistics.median(ordered),
                "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
            },
            "turns": {str(number): count for number, count in sorted(self.turns.items())},
            "meta": {
                name: dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))
                for name, counter in self.facets.items()
            },
        }
