"""When work has to end: told to by a signal, or because the job's time is up."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

ENDING = 10.0
"""Seconds kept for what comes after the last save: records, the end of the processes, back into the queue."""


class Interrupted(Exception):
    """Work was stopped from outside at a point from which it can go on.

    Args:
        message: how, and where.
        by_clock: the job's time was up, no signal came.
        progress: whether this attempt came further than the one before it.
    """

    def __init__(self, message: str, *, by_clock: bool = False, progress: bool = True):
        self.by_clock = by_clock
        self.progress = progress
        super().__init__(message)


class Stop:
    """Whether this process has to end: by SIGTERM (preemption, scancel), Ctrl-C, or the clock.

    Work asks for it at points from which it can go on. SIGTERM may come again, and changes nothing then; a second
    Ctrl-C ends the process at once.

    Args:
        seconds_left: asks the scheduler for the seconds that the job may still run; None for no limit.
    """

    def __init__(self, seconds_left: Callable[[], float | None] = lambda: None) -> None:
        self.signalled = False
        self.by_clock = False
        self._seconds_left = seconds_left
        left = seconds_left()
        self._deadline = float("inf") if left is None else time.monotonic() + left

    @property
    def requested(self) -> bool:
        """Whether the work has to end."""
        return self.signalled or self.by_clock

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals for the length of a block."""
        before = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def unless_time_for(self, seconds: float) -> bool:
        """Whether the work has to end, also because less than `seconds` (and those for ending) are left."""
        if not self.requested and time.monotonic() + seconds + ENDING > self._deadline:
            # The limit may have been raised. Without an answer it counts as before.
            left = self._seconds_left()
            self._deadline = self._deadline if left is None else time.monotonic() + left
            self.by_clock = time.monotonic() + seconds + ENDING > self._deadline
        return self.requested

    def check(self, where: str, *, progress: bool = True) -> None:
        """End the work here if it has to.

        Args:
            where: the place in the work, for the record.
            progress: whether this attempt came further than the one before it.

        Raises:
            Interrupted: it has to.
        """
        if self.requested:
            how = "out of time" if self.by_clock and not self.signalled else "told to end"
            raise Interrupted(f"{how} {where}; goes on from there", by_clock=how == "out of time", progress=progress)

    def _request(self, number: int, _: Any) -> None:
        self.signalled = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
