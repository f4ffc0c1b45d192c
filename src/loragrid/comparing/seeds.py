"""The spread over seeds: that of repeated training.

It is no part of the intervals, which are about the choice of dialogues, and is kept apart from them.
"""

import statistics
from dataclasses import dataclass

from loragrid.comparing.collect import Results, Row
from loragrid.files import canonical


@dataclass(frozen=True)
class Spread:
    """Runs that differ in nothing but the seed.

    Args:
        rows: one for each seed, in the grid's order.
        measured: mean and sample standard deviation by metric and for `validation_loss`, of the seeds that are
            there; None where there are too few for it.
    """

    rows: list[Row]
    measured: dict[str, tuple[float | None, float | None]]


def over_seeds(results: Results) -> list[Spread]:
    """The spread of each recipe × evaluation over its seeds; none if the study has one seed."""
    if len({run.seed for run in results.grid.runs.values()}) < 2:
        return []
    same: dict[str, list[Row]] = {}
    for row in results.rows:
        if row.run:
            run = row.run
            key = [run.model, run.formatted, run.precision, run.label, vars(run.recipe), row.answers.evaluation]
            same.setdefault(canonical([*key, row.answers.prompts]), []).append(row)
    spreads = []
    for rows in same.values():
        values = {"validation_loss": [row.validation_loss for row in rows if row.validation_loss is not None]}
        values |= {name: [row.scores[name].value for row in rows if name in row.scores] for name in results.columns}
        measured = {
            name: (
                statistics.fmean(numbers) if numbers else None,
                statistics.stdev(numbers) if len(numbers) > 1 else None,
            )
            for name, numbers in values.items()
        }
        spreads.append(Spread(rows, measured))
    return spreads
