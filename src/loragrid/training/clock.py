"""When to save a checkpoint, and whether there is time for another step."""

import time
from collections import deque
from typing import Literal

from loragrid.jobs.stop import Stop
from loragrid.training.ranks import Ranks

Decision = Literal["stop", "save", "go on"]


class Clock:
    """The time that steps and saving take, and what follows from it; processes that train together decide together.

    Args:
        stop: tells when to end.
        ranks: the processes.
        checkpoint_seconds: seconds between checkpoints.
    """

    def __init__(self, stop: Stop, ranks: Ranks, checkpoint_seconds: float):
        self.stop = stop
        self._ranks = ranks
        self._checkpoint_seconds = checkpoint_seconds
        self._saved_at = time.monotonic()
        self._step_began = time.monotonic()
        # Rows are grouped by length, so steps differ; the longest of the latest is what to reckon with.
        self._steps: deque[float] = deque([0.0], maxlen=50)
        self._save_seconds = 1.0

    def step_begins(self) -> None:
        """An optimiser step begins now."""
        self._step_began = time.monotonic()

    @property
    def last_step(self) -> float:
        """Seconds that the last optimiser step took."""
        return self._steps[-1]

    def step_ends(self) -> Decision:
        """An optimiser step ends now: what to do before the next one."""
        now = time.monotonic()
        self._steps.append(now - self._step_began)
        ends = self.stop.unless_time_for(2 * max(self._steps) + self._save_seconds)
        saves = now - self._saved_at >= self._checkpoint_seconds
        decision = self._ranks.most(2 if ends else int(saves))
        return "stop" if decision == 2 else "save" if decision else "go on"

    def has_no_time_for(self, seconds: float) -> bool:
        """Whether something that takes so long, and saving after it, must be left to the next attempt."""
        return self._ranks.any(self.stop.unless_time_for(seconds + self._save_seconds))

    def saved(self, seconds: float) -> None:
        """Take note that a checkpoint was saved, and how long that took."""
        self._saved_at = time.monotonic()
        self._save_seconds = max(self._save_seconds, seconds)

    def stop_together(self) -> None:
        """Let every rank know that another one was told to stop."""
        self.stop.signalled = self._ranks.any(self.stop.signalled)
        self.stop.by_clock = self._ranks.any(self.stop.by_clock)
