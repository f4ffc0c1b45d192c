"""A study as a whole: a row for each untrained model and each run, and what they wait for."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from loragrid.jobs.living import has_queue
from loragrid.status.activity import Activity
from loragrid.status.cell import URGENCY, Cell, Failure, State, most_urgent
from loragrid.status.data import Item, data
from loragrid.status.stages import Stages
from loragrid.study.grid import Answers, Grid, Run, Untrained


@dataclass(frozen=True)
class StatusRow:
    """One run or untrained model.

    Args:
        model: as the study calls it.
        dataset: that it is trained on; empty for an untrained model.
        run: its name.
        train: None for an untrained model.
        generate: what it is asked; None if that is nothing.
        score: how that is scored, without a model; None if it is not.
        judge: what judges say of it; None if nobody is asked.
    """

    model: str
    dataset: str
    run: str
    train: Cell | None
    generate: Cell | None
    score: Cell | None
    judge: Cell | None = None

    @property
    def cells(self) -> list[Cell]:
        """The cells of its stages."""
        return [cell for cell in (self.train, self.generate, self.judge, self.score) if cell]

    @property
    def state(self) -> State:
        """The state of the whole row."""
        return most_urgent(cell.state for cell in self.cells)


@dataclass(frozen=True)
class Overview:
    """Where a study stands.

    Args:
        grid: the study.
        rows: untrained models first, then runs in the grid's order.
        data: what is missing waits for.
        queue_known: False where there is a queue that did not answer.
        started: whether a workflow has this folder locked.
    """

    grid: Grid
    rows: list[StatusRow]
    data: list[tuple[Item, Cell]]
    queue_known: bool
    started: bool

    def failures(self) -> list[tuple[str, Failure]]:
        """What has failed, each with whose it is; empty for data."""
        found = [("", failure) for _, cell in self.data for failure in cell.failures]
        found += [(_who(row), failure) for row in self.rows for cell in row.cells for failure in cell.failures]
        return found

    def counts(self) -> str:
        """How many rows are in which state, most urgent first."""
        numbers = Counter(row.state for row in self.rows)
        return ", ".join(f"{numbers[state]} {state}" for state in reversed(URGENCY) if numbers[state])


def overview(grid: Grid) -> Overview:
    """Look at everything, once. Nothing is written, and nobody is waited for but the queue."""
    activity = Activity.observe()
    stages = Stages(grid, activity)
    asked: dict[str, dict[str, Answers]] = {}
    for answers in grid.answers.values():
        of_subject = asked.setdefault(answers.subject, {})
        # An untrained model may be asked the same about several datasets.
        again = f" ({answers.dataset})" if answers.evaluation in of_subject else ""
        if answers.evaluation + again in of_subject:  # or in several chats
            again = f" ({answers.dataset}, {answers.chat['name'] or 'its own chat'})"
        of_subject[answers.evaluation + again] = answers
    rows = [_row(grid, stages, subject, asked.get(folder, {})) for folder, subject in _subjects(grid).items()]
    started = any(Path(".snakemake/locks").glob("*.lock"))
    return Overview(grid, rows, data(grid, activity), activity.queue is not None or not has_queue(), started)


def _subjects(grid: Grid) -> dict[str, Run | Untrained]:
    return {**grid.untrained, **grid.runs}


def _row(grid: Grid, stages: Stages, subject: Run | Untrained, asked: dict[str, Answers]) -> StatusRow:
    model, generate, score = grid.models[subject.model].label, stages.generate(asked), stages.score(asked)
    judge = stages.judge(asked)
    if isinstance(subject, Untrained):
        return StatusRow(model, "", f"untrained, {subject.precision}", None, generate, score, judge)
    name = f"{subject.label} ({subject.name})" if subject.label else subject.name
    return StatusRow(model, subject.dataset, name, stages.train(subject), generate, score, judge)


def _who(row: StatusRow) -> str:
    return ", ".join(part for part in (row.model, row.dataset, row.run) if part)
