"""What all tables and sentences of a study need to know of it, found out once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loragrid.comparing.cache import Cache
from loragrid.comparing.collect import Results, Row
from loragrid.comparing.gains import Gains, gains
from loragrid.files import canonical
from loragrid.metrics import Column as Metric
from loragrid.reporting.contamination import Overlaps
from loragrid.reporting.shares import Share, shares
from loragrid.study.recipe import NAMES


@dataclass(frozen=True)
class Overview:
    """A study and what has been made of its results.

    Args:
        results: the study with everything that there is of it.
        gains: all gains.
        groups: rows by model and dataset.
        metrics: those that the study asks for, in the order of columns.
        headline: the one that gains and verdicts in the comparison are about.
        best: folder of the best run of each model × dataset.
        varying: recipe fields that differ between runs.
        overlaps: what was asked and had been trained on.
        shares: by id of the answers, how much of what stands behind a score was cut or left out.
        has_chats: whether the chat of rows has to be named.
        has_backends: whether what generated answers has to be named.
        has_data: whether runs differ in the rows of their datasets.
        has_parents: whether some go on from others.
    """

    results: Results
    gains: Gains
    groups: Mapping[tuple[str, str], list[Row]]
    metrics: Mapping[str, Metric]
    headline: Metric
    best: set[str]
    varying: Sequence[str]
    overlaps: Overlaps
    shares: Mapping[str, list[Share]]
    has_chats: bool
    has_backends: bool
    has_data: bool
    has_parents: bool


def overview(results: Results, cache: Cache | None = None) -> Overview:
    """Compare a study's results, and find out what its tables are about.

    Args:
        results: what there is of it.
        cache: comparisons that were made before.
    """
    grid = results.grid
    used = {(run.dataset, run.clean) for run in grid.runs.values()}
    return Overview(
        results,
        gains(results, cache),
        results.groups(),
        results.columns,
        results.headline,
        results.best_runs,
        varying_fields(results),
        Overlaps(results),
        shares(results),
        has_chats={answers.chat["name"] for answers in grid.answers.values()} != {None},
        has_backends={answers.backend for answers in grid.answers.values()} != {"transformers"},
        # Points may choose their own rows and splits.
        has_data=len(used) > len({dataset for dataset, _ in used}),
        has_parents=any(run.parent for run in grid.runs.values()),
    )


def varying_fields(results: Results) -> list[str]:
    """Recipe fields that differ between runs of the study, other than those that have a column anyway."""
    recipes = [run.recipe for run in results.grid.runs.values()]
    names = [name for name in NAMES if name not in ("method", "rank", "alpha")]
    return [name for name in names if len({canonical(getattr(recipe, name)) for recipe in recipes}) > 1]
