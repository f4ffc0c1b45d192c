"""Make cleaned data, and reports on it, as a study's grid has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loragrid.data.clean import clean
from loragrid.data.contamination import Asked, check_contamination, decontaminate
from loragrid.data.mixture import Part, mix
from loragrid.study.grid import Clean, Contamination, Data, Grid, Mixture


def make_clean(grid: Grid, data: Data) -> None:
    """Clean a dataset, mix cleaned ones, or take out of one what evaluations ask.

    Args:
        grid: the study.
        data: of it; what it is made from is there.

    Raises:
        UserError: see `clean`, `mix` and `decontaminate`.
    """
    out = Path(data.folder)
    if isinstance(data, Clean):
        clean(
            Path(grid.raw[data.raw].folder),
            out,
            data.source,
            data.read,
            data.steps,
            splits=data.splits,
            rows=data.rows,
            seed=data.seed,
            needs=data.needs,
        )
    elif isinstance(data, Mixture):
        parts = [Part(part["name"], Path(grid.clean[part["clean"]].folder), part["number"]) for part in data.parts]
        mix(parts, out, by=data.by, repeat=data.repeat, rows=data.rows, seed=data.seed, needs=data.needs)
    else:
        base = Path(grid.clean[data.base].folder)
        decontaminate(base, _asked(grid, data.asked), out, rows=data.rows, seed=data.seed, needs=data.needs)


def make_contamination(grid: Grid, report: Contamination) -> None:
    """Write a report on what training data has in common with what is asked.

    Args:
        grid: the study.
        report: of it; the cleaned data is there.
    """
    trained = Path(grid.clean[report.clean].folder)
    check_contamination(trained, _asked(grid, report.asked), Path(report.file), key=report.key)


def _asked(grid: Grid, asked: Sequence[Mapping[str, Any]]) -> list[Asked]:
    return [Asked(Path(grid.clean[each["clean"]].folder), each["split"], each["rows"], each["clean"]) for each in asked]
