"""What a cleaned split holds, counted while it is written."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any


class Counts:
    """Adds up what is written of a split."""

    def __init__(self) -> None:
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
            messages = record["messages"]
            texts = [message["content"] for message in messages]
            words = sum(len(text.split()) for text in texts)
            self.totals["messages"] += len(messages)
            self.totals["assistant_messages"] += sum(message["role"] == "assistant" for message in messages)
            self.totals["characters"] += sum(map(len, texts))
            self.totals["words"] += words
            self.totals["bytes"] += sum(len(text.encode()) for text in texts)
            self.turns[sum(message["role"] != "system" for message in messages)] += 1
            self.words.append(words)
            yield record

    def summary(self) -> dict[str, Any]:
        """What was counted.

        Returns:
            Totals, words of a dialogue (median, and the number that 95 % of the dialogues do not exceed), and how many
            dialogues have how many turns (messages without the system's).
        """
        ordered = sorted(self.words)
        names = ("messages", "assistant_messages", "characters", "words", "bytes")
        return {
            "dialogues": len(ordered),
            **{name: self.totals[name] for name in names},
            "words_per_dialogue": {
                "median": statistics.median(ordered),
                "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
            },
            "turns": {str(number): count for number, count in sorted(self.turns.items())},
        }
