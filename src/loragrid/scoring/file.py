"""Score files: one metric with its settings over one set of answers; written and read here only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json, write_json
from loragrid.metrics import METRICS
from loragrid.study.scores import columns_with

_ROUNDING = 1e-9
"""Relative difference of a value from that of its items that is only another order of summation."""


@dataclass(frozen=True)
class ScoreFile:
    """What a score file holds.

    Args:
        score: name of the metric.
        version: of the metric.
        options: settings that differ from their defaults.
        key: of the score.
        metrics: value by column, under the metric's own names; None where it is undefined.
        items: what each answer contributes, with its `id`, `dialogue` and perhaps `groups`.
        excluded: `id` and `reason` of each answer that does not count.
        made: exactly how: library versions, tokenizer or signature, hashes of what was scored.
    """

    score: str
    version: int
    options: dict[str, Any]
    key: str
    metrics: dict[str, float | None]
    items: list[dict[str, Any]]
    excluded: list[dict[str, str]] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)


def write_score(
    out: Path,
    score: Mapping[str, Any],
    items: Sequence[dict[str, Any]],
    *,
    whole: Mapping[str, float] | None = None,
    excluded: Iterable[dict[str, str]] = (),
    made: Mapping[str, Any] | None = None,
) -> None:
    """Write a score file.

    Args:
        out: the file.
        score: the score, as answers hold it.
        items: as the metric makes them.
        whole: values of columns that are not sums over items, by column.
        excluded: as in the file.
        made: what decided the values, besides versions.
    """
    metric = METRICS[score["name"]]
    values = {
        column.name: column.of(items) if column.is_sum else (whole or {}).get(column.name, math.nan)
        for column in columns_with(metric, score["options"])
    }
    libraries = {name: version(name) for name in metric.LIBRARIES}
    content = ScoreFile(
        score["name"],
        score["version"],
        score["options"],
        score["key"],
        {name: value if math.isfinite(value) else None for name, value in values.items()},
        list(items),
        list(excluded),
        {"libraries": libraries, **(made or {})},
    )
    write_json(out, asdict(content))


def read_score(file: Path, score: Mapping[str, Any]) -> ScoreFile:
    """Read a score file.

    Args:
        file: the file.
        score: the score that it must be, as answers hold it.

    Raises:
        UserError: it is damaged, of another score, or holds values that are not those of its items.
    """
    try:
        content = read_json(file)
    except UserError as error:
        raise UserError(f"{error}; if it is damaged, {_again(file)}") from None
    try:
        found = ScoreFile(**content)
        if found.key != score["key"]:
            raise ValueError(f"made with other settings: its key is {found.key:.10}, not {score['key']:.10}")
        _check(found)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise UserError(f"{file}: damaged score file ({_what(error)}); {_again(file)}") from None
    return found


def _again(file: Path) -> str:
    """What to do about a damaged file: the same one lies in the work folder, from where it would be published again."""
    made = file.parent.parent / "work" / file.name
    return f"delete it{f' and {made}' if made.exists() else ''} to score again"


def _check(found: ScoreFile) -> None:
    seen: set[str] = set()
    for item in found.items:
        if not isinstance(item["id"], str) or not isinstance(item["dialogue"], str):
            raise TypeError("an item without the text of its id or dialogue")
        if item["id"] in seen:
            raise ValueError(f"the item {item['id']!r} is there twice")
        seen.add(item["id"])
    if not seen:
        raise ValueError("no items")
    for column in columns_with(METRICS[found.score], found.options):
        value = found.metrics[column.name]
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{column.name} is not a finite number")
        if not column.is_sum:
            continue
        of_items = column.of(found.items)
        if value is None:
            if math.isfinite(of_items):
                raise ValueError(f"{column.name} has no value, and its items have {of_items:g}")
        elif not math.isclose(value, of_items, rel_tol=_ROUNDING, abs_tol=1e-12):
            raise ValueError(f"{column.name} is {value:g}, and its items come to {of_items:g}")


def _what(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
