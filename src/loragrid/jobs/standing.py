"""How far a running attempt is: `standing.json` in its work folder, written by the work itself for whoever looks."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json, write_json

STANDING = "standing.json"

SECONDS = 2.0
"""Between two writings of the file; work in small steps would otherwise be slowed by telling of them."""


@dataclass(frozen=True)
class Standing:
    """A part of the work of an attempt, and how far it is.

    Args:
        what: is counted: `steps`, `answers`, `questions` or `likelihoods`.
        first: how many an earlier attempt had done.
        done: how many are done.
        total: how many there are.
        began: when this attempt began with them (seconds since 1970).
        at: when the last of them was done.
        loss: the newest, in nats a token; None where there is none.
    """

    what: str
    first: int
    done: int
    total: int
    began: float
    at: float
    loss: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the pace of this attempt; None before it has done anything."""
        new = self.done - self.first
        return (self.at - self.began) / new * (self.total - self.done) if new > 0 else None


class Reporter:
    """Writes the standing of an attempt.

    Args:
        work: the member's work folder; None where another process writes, or nobody looks.
    """

    def __init__(self, work: Path | None):
        self._file = work / STANDING if work else None
        self._standing = Standing("", 0, 0, 0, 0.0, 0.0)
        self._written = 0.0

    def begin(self, what: str, done: int, total: int) -> None:
        """A part of the work begins.

        Args:
            what: is counted.
            done: how many an earlier attempt had done.
            total: how many there are.
        """
        now = time.time()
        self._standing = Standing(what, done, done, total, now, now)
        self._write()

    def reach(self, done: int, loss: float | None = None) -> None:
        """So many are done."""
        self._standing = replace(self._standing, done=done, at=time.time(), loss=loss)
        if done >= self._standing.total or time.monotonic() - self._written >= SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._file is not None:
            write_json(self._file, asdict(self._standing))


def standing_of(work: Path, since: float) -> Standing | None:
    """The standing of an attempt.

    Args:
        work: the member's work folder.
        since: when the attempt began: what an earlier one wrote does not count.

    Returns:
        None while it is loading, or where the file cannot be read: it is not worth an error.
    """
    try:
        content: dict[str, Any] = read_json(work / STANDING)
        standing = Standing(**content)
        numbers = (standing.first, standing.done, standing.total, standing.began, standing.at, standing.loss or 0)
        if not all(isinstance(number, int | float) for number in numbers):
            return None
    except (UserError, TypeError):
        return None
    return standing if standing.began >= since else None
