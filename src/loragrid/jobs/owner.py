"""One process at a time works in a work folder; the others wait for it.

`work.lock` is locked as long as its owner lives, whose worker inherits the lock, and says who that is. On the same
machine, and on file systems that share locks, the lock tells whether the owner lives; elsewhere the queue does. On some
of these a node that lost power keeps its locks.
"""

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loragrid.jobs import slurm
from loragrid.jobs.stop import Stop

LOCK = "work.lock"

PAUSE = 0.5
"""Seconds between two looks at the work of an owner on this machine, and at what the work has come to."""

QUEUE_PAUSE = 30.0
"""Seconds between two looks at an owner that has a Slurm job: the queue is shared with everybody."""


class Ownership:
    """The right to work in a folder.

    Args:
        place: a member's work folder, which is made.
    """

    def __init__(self, place: Path):
        place.mkdir(parents=True, exist_ok=True)
        # Opened for writing, without which NFS has no locks between machines.
        self.descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        self._locked = False

    def is_free(self) -> bool:
        """Whether no living process works in the folder; none will until `release`."""
        self._locked = self._lock()
        owner = self._owner()
        job = owner.get("job")
        if job is None:
            return self._locked
        if self._locked:
            elsewhere = job != slurm.own_job() and owner.get("host") != platform.node()
            if not elsewhere or not slurm.is_running(job):
                return True
            # There are file systems whose locks are for one machine only.
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self._locked = False
            return False
        time.sleep(PAUSE)  # who has just got the lock may still have to write its name over that of the one before
        return _is_over(job) and self._owner() == owner

    def take(self) -> bool:
        """Own the folder, if it is free."""
        if not self.is_free():
            return False
        me = {"job": slurm.own_job(), "host": platform.node(), "pid": os.getpid()}
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(me).encode(), 0)
        return True

    def release(self, *, owned: bool) -> None:
        """Let another process have the folder.

        Args:
            owned: whether this one had it.
        """
        # Where a lost node keeps its lock, the name of the last owner is the only way to tell that it is over.
        if owned and self._locked:
            os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)

    def in_queue(self) -> bool:
        """Whether the owner has a Slurm job, so that the queue is asked about it."""
        return self._owner().get("job") not in (None, slurm.own_job())

    def who(self) -> str:
        """The owner, for people."""
        owner = self._owner()
        job = f"Slurm job {owner['job']}, " if owner.get("job") else ""
        return f"{job}process {owner['pid']} on {owner['host']}" if owner else "another process"

    def _owner(self) -> dict[str, Any]:
        try:
            owner = json.loads(os.pread(self.descriptor, 4096, 0))
        except ValueError:
            return {}  # nobody, or somebody who has not finished writing
        return owner if isinstance(owner, dict) and owner.keys() >= {"job", "host", "pid"} else {}

    def _lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        return True


@contextlib.contextmanager
def if_free(place: Path) -> Iterator[bool]:
    """Whether no living process works in a folder; none will as long as the block lasts.

    Args:
        place: a member's work folder.
    """
    ownership = Ownership(place)
    try:
        yield ownership.is_free()
    finally:
        ownership.release(owned=False)


@contextlib.contextmanager
def owned_if_free(place: Path) -> Iterator[int | None]:
    """Own a folder as long as the block lasts, if no living process works in it.

    Args:
        place: a member's work folder.

    Yields:
        Descriptor of the lock, for the worker to inherit; None if somebody works there.
    """
    ownership = Ownership(place)
    got = False
    try:
        got = ownership.take()
        yield ownership.descriptor if got else None
    finally:
        ownership.release(owned=got)


@contextlib.contextmanager
def owned(place: Path, settled: Callable[[], bool], stop: Stop, on_poll: Callable[[], None]) -> Iterator[int | None]:
    """Own a folder, once whoever works there has ended, as long as the block lasts.

    Args:
        place: a member's work folder.
        settled: whether the member needs no work.
        stop: ends the waiting; also when the job's own time is up.
        on_poll: called often while waiting.

    Yields:
        Descriptor of the lock, for the worker to inherit; None if there is nothing left to do, or no time for it.
    """
    ownership = Ownership(place)
    got = False
    try:
        got = _wait(ownership, place, settled, stop, on_poll)
        yield ownership.descriptor if got else None
    finally:
        ownership.release(owned=got)


def _wait(
    ownership: Ownership, place: Path, settled: Callable[[], bool], stop: Stop, on_poll: Callable[[], None]
) -> bool:
    clock, due = None, 0.0
    while not settled() and not stop.requested:
        if time.monotonic() >= due:
            if ownership.take():
                return True
            due = time.monotonic() + (QUEUE_PAUSE if ownership.in_queue() else PAUSE)
        if clock is None:
            print(f"{place.parent}: waits for {ownership.who()}, which works on it", flush=True)
            clock = Stop(slurm.seconds_left)
        stop.by_clock = clock.unless_time_for(PAUSE)
        on_poll()
        time.sleep(PAUSE / 5)
    if clock is not None and settled():
        print(f"{place.parent}: nothing left to do", flush=True)
    return False


def _is_over(job: str) -> bool:
    """Whether the Slurm job of an owner is over: it was another one, or this one's earlier life."""
    return slurm.has_job_to_itself() if job == slurm.own_job() else slurm.is_over(job)
