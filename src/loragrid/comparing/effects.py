"""What an axis of the grid does: the mean over all pairs of runs that differ in it alone.

The winner among many runs is a biased pick, and says little of what made it win. An effect is over the whole grid: each
level of an axis against its lowest (of words, the first), paired by everything else, seeds included.

Two runs that differ in nothing but chance (initial values, the order of rows) differ all the same, on all dialogues
alike, which no resampling of dialogues shows. So an effect has to stand out twice: over the choice of dialogues, as
all comparisons, and over the runs, by how much the differences of the pairs vary (`loragrid.comparing.repeats`).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loragrid.comparing.cache import Cache, compared
from loragrid.comparing.collect import Results, Row, Score
from loragrid.comparing.draws import SharedDraws
from loragrid.comparing.gains import Gain, judged, unpaired
from loragrid.comparing.measure import sign
from loragrid.comparing.repeats import with_repeats
from loragrid.files import canonical
from loragrid.metrics import Column
from loragrid.study.arguments import shown
from loragrid.study.recipe import NAMES

Level = str | int | float | bool | None


@dataclass(frozen=True)
class Effect:
    """One level of an axis against the reference level, in one metric.

    Args:
        model: name in the study.
        dataset: name in the study.
        evaluation: name in the study.
        axis: recipe field, `chat`, or `rank at equal scale`, in which alpha moves with the rank.
        level: its value.
        against: the reference level.
        metric: its name.
        pairs: number of pairs of runs.
        gain: the mean difference over the pairs, its interval over the choice of dialogues and of runs, and a verdict
            that is corrected for all levels and axes.
    """

    model: str
    dataset: str
    evaluation: str
    axis: str
    level: Level
    against: Level
    metric: str
    pairs: int
    gain: Gain


@dataclass(frozen=True)
class _Axis:
    """How runs are matched: the value of the axis, and what else they have to agree in."""

    name: str
    level: Callable[[dict[str, Any]], Any]
    freed: tuple[str, ...]


@dataclass(frozen=True)
class _Matched:
    """The pairs of one effect, and their seeds; `place` is model, dataset, evaluation, axis, level and reference."""

    place: tuple[Any, ...]
    pairs: list[tuple[Score, Score]]
    seeds: list[int]


def effects(results: Results, cache: Cache | None = None) -> list[Effect]:
    """The effects of all axes of a study in all metrics.

    Args:
        results: what there is of it.
        cache: comparisons that were made before.

    Returns:
        By model, dataset, evaluation, axis, level and metric. Levels without a matched pair are left out.
    """
    cache = cache or Cache()
    found: dict[tuple[Any, ...], Gain] = {}
    numbers = {}
    matched = {name: _all_matched(results, metric) for name, metric in results.measures.items()}
    all_draws = SharedDraws(max(map(len, matched.values()), default=1))
    for name, metric in results.measures.items():
        blocks: dict[tuple[str, ...], list[_Matched]] = {}
        for item in matched[name]:
            blocks.setdefault(item.pairs[0][0].dialogues, []).append(item)
        for dialogues, items in blocks.items():
            comparisons = compared(metric, [item.pairs for item in items], all_draws.over(dialogues), cache)
            for item, comparison in zip(items, comparisons, strict=True):
                place = (*item.place, name)
                numbers[place] = len(item.pairs)
                differences = [sign(metric) * (one.value - other.value) for one, other in item.pairs]
                comparison = with_repeats(comparison, differences, item.seeds)
                found[place] = Gain(comparison, dialogues=len(dialogues), reason=comparison.reason)
    complete = judged(found, lambda place: place[-1], results.measures)
    order = {item.place: None for items in matched.values() for item in items}
    all_effects = []
    for place in order:
        model, dataset, evaluation, axis, level, against = place
        all_effects += [
            Effect(
                model, dataset, evaluation, axis, level, against, name, numbers[*place, name], complete[*place, name]
            )
            for name in results.measures
            if (*place, name) in complete
        ]
    return all_effects


def _all_matched(results: Results, metric: Column) -> list[_Matched]:
    """The pairs of all effects in one metric."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in results.rows:
        if row.run and metric.name in row.scores:
            place = results.model(row), results.dataset(row), row.answers.evaluation
            groups.setdefault(place, []).append(row)
    found = []
    for place, rows in groups.items():
        settings = [_settings(row) for row in rows]
        for axis in _axes(settings):
            found += _matched(place, axis, rows, settings, metric)
    return found


def _settings(row: Row) -> dict[str, Any]:
    """What defines a run, the scale of its update included."""
    run = row.run
    assert run is not None  # noqa: S101 - chosen by the caller
    return {
        **vars(run.recipe),
        "scale": run.recipe.scale,
        "chat": run.chat,
        "seed": run.seed,
        "others": [run.clean, run.precision, run.parent],
    }


def _axes(settings: Sequence[dict[str, Any]]) -> list[_Axis]:
    """The fields that vary among runs, and how runs are matched along them."""
    varying = [name for name in (*NAMES, "chat") if len({canonical(one[name]) for one in settings}) > 1]
    # The scale follows from alpha and the rank: it is free wherever one of these is.
    axes = [_Axis(name, lambda one, name=name: one[name], (name, "scale")) for name in varying]  # type: ignore[misc]
    if "rank" in varying and "alpha" in varying:
        axes.append(_Axis("rank at equal scale", lambda one: one["rank"], ("rank", "alpha")))
        # With one rank this would be the axis alpha again.
        axes.append(_Axis("scale", lambda one: one["scale"], ("alpha", "scale")))
    return axes


def _matched(
    place: tuple[str, str, str], axis: _Axis, rows: Sequence[Row], settings: Sequence[dict[str, Any]], metric: Column
) -> list[_Matched]:
    levels: dict[str, Any] = {}
    runs: dict[str, dict[str, Score]] = {}  # by level, then by everything else
    for row, one in zip(rows, settings, strict=True):
        level = canonical(axis.level(one))
        levels.setdefault(level, axis.level(one))
        rest = canonical({field: value for field, value in one.items() if field not in axis.freed})
        runs.setdefault(level, {}).setdefault(rest, row.scores[metric.name])
    ordered = list(levels)
    if all(isinstance(value, int | float) for value in levels.values()):
        ordered.sort(key=lambda level: levels[level])
    reference = ordered[0]
    found = []
    for level in ordered[1:]:
        pairs = [
            (score, runs[reference][rest], json.loads(rest)["seed"])
            for rest, score in runs[level].items()
            if rest in runs[reference] and not unpaired(runs[reference][rest], score, metric, "")
        ]
        # A mean over pairs needs the same items in all of them.
        items = [score.items for score, _, _ in pairs]
        most = max(items, key=items.count, default="")
        if chosen := [pair for pair in pairs if pair[0].items == most]:
            found.append(
                _Matched(
                    (*place, axis.name, _shown(axis, levels[level]), _shown(axis, levels[reference])),
                    [(score, other) for score, other, _ in chosen],
                    [seed for _, _, seed in chosen],
                )
            )
    return found


def _shown(axis: _Axis, level: Any) -> Level:
    """A level as tables show it."""
    found: Level = (level["name"] or "the model's own") if axis.name == "chat" else shown(level)
    return found
