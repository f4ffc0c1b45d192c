"""What one cell of the status says: how far one stage of one subject is."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

State = Literal["failed", "running", "queued", "interrupted", "waiting", "done"]
"""`interrupted`: begun, not ended, and not at work; the next job, or the next start of the workflow, goes on."""

URGENCY: tuple[State, ...] = ("failed", "running", "queued", "interrupted", "waiting", "done")
"""Of several states, the first of these is what to tell."""


@dataclass(frozen=True)
class Failure:
    """What failed, and where more about it stands.

    Args:
        what: the stage, e.g. `train`.
        reason: as on record.
        log: where it was logged, if that is known.
        attempt: number of the attempt.
        record: the file that keeps it from being tried again, if there is one.
        blocked_by: the record of another failure that this one follows from.
        evaluation: whose answers or scores it is about, where there are several.
    """

    what: str
    reason: str
    log: Path | None = None
    attempt: int | None = None
    record: Path | None = None
    blocked_by: Path | None = None
    evaluation: str | None = None

    @property
    def title(self) -> str:
        """What failed, in words."""
        return f"{self.what} ({self.evaluation})" if self.evaluation else self.what


@dataclass(frozen=True)
class Cell:
    """How far a stage is.

    Args:
        state: in one word.
        text: in a few.
        failures: what went wrong, if something did.
    """

    state: State
    text: str
    failures: tuple[Failure, ...] = ()


DONE = Cell("done", "done")
WAITING = Cell("waiting", "waiting")


def failed(failure: Failure) -> Cell:
    """The cell of a failure."""
    return Cell("failed", f"failed: {failure.reason}", (failure,))


def most_urgent(states: Iterable[State]) -> State:
    """Of several states the one to tell; `done` without any."""
    return min(states, key=URGENCY.index, default="done")


def together(cells: dict[str, Cell]) -> Cell:
    """One cell for several parts of a stage, by their names: the most urgent one, and how many are done."""
    if len(cells) == 1:
        return next(iter(cells.values()))
    state = most_urgent(cell.state for cell in cells.values())
    if state == "done":
        return DONE
    name, urgent = next((name, cell) for name, cell in cells.items() if cell.state == state)
    done = sum(cell.state == "done" for cell in cells.values())
    failures = tuple(replace(failure, evaluation=name) for name, cell in cells.items() for failure in cell.failures)
    text = urgent.text if all(cell.text == urgent.text for cell in cells.values()) else f"{name}: {urgent.text}"
    return Cell(state, f"{done}/{len(cells)} done, {text}" if done else text, failures)
