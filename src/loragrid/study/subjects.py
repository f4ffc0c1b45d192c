"""Who of a study is meant, by the names that people type."""

from collections.abc import Sequence
from pathlib import Path

from loragrid.errors import UserError
from loragrid.study.grid import Grid, Run

MOST = 8
"""Names in a message."""


def runs_called(grid: Grid, names: Sequence[str]) -> list[Run]:
    """The runs of some names.

    Args:
        grid: the study.
        names: each a run's label, its name, the beginning of one of these, or its folder.

    Raises:
        UserError: none or several are called so.
    """
    return list({run.folder: run for run in (_run_called(grid, name) for name in names)}.values())


def _run_called(grid: Grid, name: str) -> Run:
    runs = list(grid.runs.values())
    folder = str(Path(name))
    exact = [run for run in runs if name in (run.label, run.name) or folder == run.folder]
    found = exact or [run for run in runs if name and (run.name.startswith(name) or (run.label or "").startswith(name))]
    if len(found) == 1:
        return found[0]
    several = "several runs are" if found else "no run is"
    # Runs of two models, or on two datasets, may differ in nothing else.
    there = sorted(dict.fromkeys(run.folder if len(found) > 1 else run.label or run.name for run in found or runs))
    more = f" and {len(there) - MOST} more" if len(there) > MOST else ""
    raise UserError(f"{several} called {name!r} in {grid.study}; there are: {', '.join(there[:MOST]) or 'none'}{more}")


def names_of(grid: Grid, runs: Sequence[Run]) -> list[str]:
    """What to call runs beside each other: the shortest names that tell them apart."""
    ways = [
        [run.label or run.name for run in runs],
        [run.name for run in runs],  # of one label there are as many as seeds
        [f"{grid.models[run.model].label} {run.dataset} {run.label or run.name}" for run in runs],
    ]
    return next((names for names in ways if len(set(names)) == len(names)), [run.folder for run in runs])
