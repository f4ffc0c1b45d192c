"""Who is asked at the command line, with the files that this takes."""

from collections.abc import Sequence
from pathlib import Path

from loragrid.generation.ask import Subject
from loragrid.jobs.adapter import adapter_of
from loragrid.study.grid import Grid, Run
from loragrid.study.subjects import names_of


def subjects_of(grid: Grid, runs: Sequence[Run], *, base: bool) -> list[Subject]:
    """Runs as subjects, those of a base model after each other.

    Args:
        grid: the study.
        runs: trained ones.
        base: each base model, untrained, before its runs.

    Raises:
        UserError: an adapter is not the one that was trained.
    """
    names = dict(zip((run.folder for run in runs), names_of(grid, runs), strict=True))
    found: list[Subject] = []
    before: tuple[str, str] | None = None
    for run in sorted(runs, key=lambda run: (run.model, run.precision)):  # stable: in the study's order otherwise
        model = grid.models[run.model]
        if base and (run.model, run.precision) != before:
            # A token that training added is unknown to it.
            chat = {**run.chat, "end_token": "text"}
            name = f"untrained {model.label}"
            found.append(Subject(name, model.folder, run.precision, chat, None, model.micro_batch))
        before = (run.model, run.precision)
        adapter = adapter_of(run.folder, run.key, "its training")
        found.append(
            Subject(names[run.folder], model.folder, run.precision, run.chat, Path(adapter), model.micro_batch)
        )
    return found
