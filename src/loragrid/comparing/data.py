"""Why there is nothing to train on or to ask: a failure in making it, which the rows that wait for it tell."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from loragrid.jobs.log import error_in
from loragrid.study.grid import Clean, Grid

LOGS = Path("results/logs")


def data_failure(
    grid: Grid, model: str, clean: Sequence[str], formatted: str | None = None, prompts: str | None = None
) -> tuple[Literal["failed"], str] | None:
    """The first failure among what has to be made before, with its log; None if there is none.

    Args:
        grid: the study.
        model: id of the model.
        clean: ids of cleaned data.
        formatted: id of what is formatted of it.
        prompts: id of what is asked of it.
    """
    for rule, id_, made in _before(grid, model, clean, formatted, prompts):
        log = LOGS / rule / f"{id_}.log"
        if not Path(made).exists() and (reason := error_in(log)):
            return "failed", f"failed in {rule.partition('_')[0]}: {reason} (log {log})"
    return None


def _before(
    grid: Grid, model: str, clean: Sequence[str], formatted: str | None, prompts: str | None
) -> Iterator[tuple[str, str, str]]:
    """What is made before, the earliest first: rule, id, and the file that says that it is there."""
    entry = grid.models[model]
    rows, questions = f"data/formatted/{formatted}/format.json", f"data/prompts/{prompts}.jsonl"
    yield "build_model" if entry.build else "download_model", model, f"{entry.folder}/model.json"
    # What these were made from may be deleted by then.
    if Path(rows if formatted else questions).exists():
        return
    for id_ in clean:
        yield from _data(grid, id_)
    if formatted:
        yield "format", formatted, rows
    if prompts:
        yield "prompts", prompts, questions


def _data(grid: Grid, id_: str) -> Iterator[tuple[str, str, str]]:
    data = grid.clean[id_]
    if isinstance(data, Clean):
        yield "download_dataset", data.raw, f"data/raw/{data.raw}/provenance.json"
    for other in grid.made_from(id_):
        yield from _data(grid, other)
    yield "clean", id_, f"{data.folder}/cleaning.json"
