"""What all tables and sentences of a study need to know of it, found out once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loragrid.files import canonical
from loragrid.metrics import Column as Metric
from loragrid.reporting.collect import Results, Row
from loragrid.reporting.contamination import Overlaps
from loragrid.reporting.gains import Gain, gains
from loragrid.reporting.shares import Share, shares
from loragrid.study.schema import Recipe

Gains = Mapping[tuple[str, str], Gain]
"""By id of the answers and metric."""


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
        has_data: whether runs differ in the rows of their datasets.
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
    has_data: bool


def overview(results: Results) -> Overview:
    """Compare a study's results, and find out what its tables are about.

    Args:
        results: what there is of it.
    """
    grid, main = results.grid, headline(results)
    used = {(run.dataset, run.clean) for run in grid.runs.values()}
    return Overview(
        results,
        gains(results),
        results.groups(),
        results.columns,
        main,
        best_runs(results),
        varying_fields(results),
        Overlaps(results),
        shares(results),
        has_chats={answers.chat["name"] for answers in grid.answers.values()} != {None},
        # Points may choose their own rows and splits.
        has_data=len(used) > len({dataset for dataset, _ in used}),
    )


def headline(results: Results) -> Metric:
    """The metric that gains and verdicts in the comparison are about: the first that stands for its kind.

    That is bits per byte, which is comparable across tokenizers and needs no decoding, wherever the study asks for it.
    """
    directed = [column for column in results.columns.values() if column.higher_is_better is not None]
    return next((column for column in directed if column.is_brief), directed[0])


def validated_on(results: Results, row: Row) -> str | None:
    """What a run's validation loss is over: losses over other rows or other tokens cannot be compared."""
    if row.run is None:
        return None
    tokens = [row.run.recipe.get("mask"), row.run.recipe.get("max_length")]
    return canonical([results.grid.records_of(row.run.clean, "validation"), *tokens])


def best_runs(results: Results) -> set[str]:
    """Folder of the run with the lowest validation loss of each model × dataset: chosen on validation, tested on test.

    The earlier one in the grid where losses are equal; none where the runs were validated on different data.
    """
    best: dict[tuple[str, str], tuple[float, str]] = {}
    over: dict[tuple[str, str], set[str | None]] = {}
    for row in results.rows:
        if row.run:
            over.setdefault((results.model(row), results.dataset(row)), set()).add(validated_on(results, row))
    for row in results.rows:
        if row.run and row.validation_loss is not None:
            key = results.model(row), results.dataset(row)
            if key not in best or row.validation_loss < best[key][0]:
                best[key] = row.validation_loss, row.run.folder
    return {folder for key, (_, folder) in best.items() if len(over[key]) == 1}


def varying_fields(results: Results) -> list[str]:
    """Recipe fields that differ between runs of the study, other than those that have a column anyway."""
    recipes = [run.recipe for run in results.grid.runs.values()]
    names = [name for name in Recipe.model_fields if name not in ("method", "rank", "alpha")]
    return [name for name in names if len({canonical(recipe.get(name)) for recipe in recipes}) > 1]
