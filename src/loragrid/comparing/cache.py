"""Comparisons that were made before: `results/comparisons/<study>.json`.

Each is kept under a digest of all that it follows from: the statistics of the systems, the dialogues, the metric's
values, the number of draws and the version of these computations. So nothing has to be deleted when a score changes,
and a cached comparison has the digits of a fresh one.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from loragrid.comparing.collect import Score
from loragrid.comparing.compare import Comparison, compare
from loragrid.comparing.draws import Draws
from loragrid.comparing.measure import Measure, of_all
from loragrid.errors import UserError
from loragrid.files import canonical, read_json, write_text

VERSION = 2
"""Raised when intervals or p-values of the same scores change."""


class Cache:
    """Comparisons by key.

    Args:
        file: where they are kept; None to keep none. One that is missing or damaged holds nothing.
    """

    def __init__(self, file: Path | None = None):
        self._file = file
        self._kept = _read(file) if file else {}
        self._used: dict[str, list[Any]] = {}

    def recall(self, keys: Sequence[str], make: Callable[[list[int]], Sequence[Comparison]]) -> list[Comparison]:
        """The comparisons of some keys; those that are not there are made.

        Args:
            keys: one for each comparison.
            make: from the positions of those to be made to these comparisons, in the same order.
        """
        absent = [position for position, key in enumerate(keys) if key not in self._kept]
        if absent:
            for position, comparison in zip(absent, make(absent), strict=True):
                gain, *others = astuple(comparison)
                self._kept[keys[position]] = [None if math.isnan(gain) else gain, *others]  # NaN is no JSON
        found = []
        for key in keys:
            self._used[key] = entry = self._kept[key]
            found.append(Comparison(math.nan if entry[0] is None else entry[0], *entry[1:]))
        return found

    def save(self) -> None:
        """Keep what was asked for since this was opened, and nothing else."""
        if self._file is None:
            return
        entries = dict(sorted(self._used.items()))
        text = canonical({"digest": _digest(entries), "entries": entries}) + "\n"
        if not self._file.exists() or self._file.read_bytes() != text.encode():
            write_text(self._file, text)


def compared(
    measure: Measure, differences: Sequence[Sequence[tuple[Score, Score]]], draws: Draws | None, cache: Cache
) -> list[Comparison]:
    """Compare scores, as far as they were not compared before.

    Args:
        measure: the metric.
        differences: each a list of pairs, of which the second is subtracted from the first; the mean over them counts.
        draws: draws over their dialogues; None if there are fewer than two.
        cache: what was compared before.

    Returns:
        One for each difference.
    """
    keys = [key("difference", measure, draws, [score for pair in pairs for score in pair]) for pairs in differences]
    sums = [[(one.sums, other.sums) for one, other in pairs] for pairs in differences]
    return cache.recall(keys, lambda absent: compare(measure, [sums[index] for index in absent], draws))


def key(kind: str, measure: Measure, draws: Draws | None, scores: Sequence[Score]) -> str:
    """The key of a comparison.

    Args:
        kind: `difference` of pairs, or `value` of one score.
        measure: the metric. What it makes of the sums is part of the key, so that a metric that is computed in another
            way is compared anew.
        draws: draws over the scores' dialogues.
        scores: what is compared.
    """
    values = [float(value).hex() for value in of_all(measure, [score.sums for score in scores])]
    # A difference has the metric's direction in its sign.
    about = [VERSION, kind, measure.name, measure.higher_is_better, draws.key if draws else None]
    return hashlib.sha256(canonical([about, [score.digest for score in scores], values]).encode()).hexdigest()[:32]


def _read(file: Path) -> dict[str, list[Any]]:
    """The entries of a file; none if it is missing, or not as it was written."""
    try:
        content = read_json(file)
        entries = content["entries"]
        return entries if content["digest"] == _digest(entries) else {}
    except (UserError, KeyError, TypeError, ValueError):
        return {}


def _digest(entries: Any) -> str:
    return hashlib.sha256(canonical([VERSION, entries]).encode()).hexdigest()
