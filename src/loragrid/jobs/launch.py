"""Start the processes that work on a batch, pass signals on to them, and see what became of them.

The process that Snakemake starts works on nothing itself. It starts one worker a GPU, through accelerate where there
are several, and outlives them: so it can tell how one ended that was killed, start anew with half the micro-batch after
the GPU's memory was too small, and put its Slurm job back into the queue when the time was up.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from loragrid.jobs import slurm
from loragrid.jobs.attempts import (
    fruitless_attempts,
    give_up_if_hopeless,
    out_of_memory_attempts,
    read_attempts,
    settle_killed,
)
from loragrid.jobs.oom import oom_kills
from loragrid.jobs.owner import owned, owned_if_free
from loragrid.jobs.parent import die_with_parent
from loragrid.jobs.publish import publish_finished
from loragrid.jobs.refusals import forget_refusals, settle_hopeless
from loragrid.jobs.requeue import MOST_RESTARTS, ask_for_this_job, is_at_limit, requeue_this_job
from loragrid.jobs.stop import Stop
from loragrid.study.batches import Batch
from loragrid.study.members import Member, TrainMember

ACCELERATE = Path(__file__).parents[3] / "cluster" / "accelerate"
REPEAT = 2.0
"""Seconds between two SIGTERMs to a worker, which may not listen yet while it imports its packages."""

MOST_FRUITLESS = 3
"""Workers in a row that begin nothing before the job ends: what keeps them from it, missing packages, say, would keep
the next from it, too. One alone may have been kept by the deleted folder of a member."""

PUBLISH = 10.0
"""Seconds between two looks at what has been finished: each asks for some files of every member, on a shared disk."""

CONTINUED = ("stopped", "terminated")


def run_batch(
    stage: str,
    batch: Batch[Member],
    file: Path,
    options: list[str],
    gpus: int,
    on_poll: Callable[[], None] = lambda: None,
) -> bool:
    """Work on a batch in processes of its own until each member is settled or this job can do no more.

    What another process works on is waited for, after everything else.

    Args:
        stage: `train`, `log_probabilities` or `generate`.
        batch: the recorded batch.
        file: where it is recorded.
        options: more arguments of the worker.
        gpus: processes that train together.
        on_poll: called often as long as the processes work.

    Returns:
        Whether every member finished or failed for good; if not, repeating the batch goes on.
    """
    forget_refusals(batch)
    # Processes that train together have agreed on much by the end of a run, and what draws curves reads its settings
    # once in a process: new ones begin with nothing of it.
    alone = gpus > 1 or "--report-to" in options
    job = _Job(batch, [*_launcher(batch, gpus), "-m", "loragrid", "worker", stage, str(file), *options], alone=alone)
    with Stop().listening() as stop:
        # Nobody else may do it meanwhile; but what others do needs no waiting for as long as there is something to do.
        with contextlib.ExitStack() as stack:
            locks = {}
            for member in job.left():
                lock = stack.enter_context(owned_if_free(member.work))
                if lock is not None:
                    locks[member.folder] = lock
            settle_hopeless(batch)
            job.work(locks, stop, on_poll)
        for member in job.others():
            if stop.requested or job.is_fruitless:
                break
            with owned(member.work, member.is_settled, stop, on_poll) as lock:
                job.waited = stop.requested
                settle_hopeless(batch)
                if lock is not None:
                    job.work({member.folder: lock}, stop, on_poll)
        if not batch.is_settled():
            # Slurm may repeat its SIGTERM, which must not end this process before the job is back in the queue.
            job.requeue(stop)
    return batch.is_settled()


class _Job:
    """The work of this job on a batch.

    Args:
        batch: the recorded batch.
        command: of a worker.
        alone: whether each member needs a process of its own.
    """

    def __init__(self, batch: Batch[Member], command: list[str], *, alone: bool):
        self.batch = batch
        self.waited = False
        """Whether this job was told to end while it waited for another one's work."""
        self._command = command
        self._at_once = 1 if alone else len(batch.members)
        self._left_before = len(self.left())
        self._begun: set[str] = set()
        self._tried: set[str] = set()
        self._fruitless = 0

    @property
    def is_fruitless(self) -> bool:
        """Whether no worker begins anything here."""
        return self._fruitless >= MOST_FRUITLESS

    def left(self) -> list[Member]:
        """Members that are not settled: last come those that were often tried in vain, and may end this job, too."""
        left = [member for member in self.batch.members if not member.is_settled()]
        return sorted(left, key=lambda member: fruitless_attempts(member.work))

    def others(self) -> list[Member]:
        """Members that are left and that this job has not tried: another process worked on them."""
        # In one order everywhere, so that two that want the same do not wait for each other.
        others = [member for member in self.left() if member.folder not in self._tried]
        return sorted(others, key=lambda member: member.folder)

    def work(self, locks: dict[str, int], stop: Stop, on_poll: Callable[[], None]) -> None:
        """Try each member once, in a new process after one that was lost.

        Args:
            locks: of the members to be tried, by folder.
            stop: ends the work.
            on_poll: called often.
        """
        while not (self.is_fruitless or stop.requested or self._is_out_of_time()):
            todo = [member for member in self.left() if member.folder in locks and member.folder not in self._tried]
            todo = todo[: self._at_once]
            if not todo:
                return
            tried = {member.folder: out_of_memory_attempts(member.work) for member in todo}
            begun = {member.folder: len(read_attempts(member.work)) for member in todo}
            publisher = _Publisher(todo, on_poll)
            ended, why = _run([*self._command, *_only(todo)], stop, publisher.poll, list(locks.values()))
            publisher.publish()
            new = [member for member in todo if len(read_attempts(member.work)) > begun[member.folder]]
            for member in new:
                self._begun.add(member.folder)
                # One that had begun before was not this worker's, and ended in another way.
                settle_killed(member.work, ended, why)
                # The next round has half the micro-batch. Whatever else went wrong is for the next job.
                if out_of_memory_attempts(member.work) <= tried[member.folder]:
                    self._tried.add(member.folder)
                if not member.is_settled():
                    give_up_if_hopeless(member.work, self.batch.stage)
            self._fruitless = 0 if new else self._fruitless + 1
            if not new:
                # It did not come so far as to begin: packages are missing, say, or its folder was deleted.
                self._tried.add(todo[0].folder)

    def _is_out_of_time(self) -> bool:
        return any(attempt.get("ended") == "stopped" for attempt in self._last())

    def _last(self) -> list[dict[str, Any]]:
        """The last attempts at members that this job has begun and that are not settled."""
        begun = (read_attempts(member.work) for member in self.left() if member.folder in self._begun)
        return [attempts[-1] for attempts in begun if attempts]  # none where somebody has deleted the folder

    def requeue(self, stop: Stop) -> None:
        """Put this Slurm job back into the queue if its members can go on, or tell an executor that does it.

        Not if nothing was gained, which would go on for ever. Waiting for another's work gains what that does. An
        executor finds out by itself when a job is preempted.
        """
        last = self._last()
        went_on = any(attempt.get("ended") in CONTINUED and attempt.get("progress") for attempt in last)
        gained = self.waited or went_on or len(self.left()) < self._left_before
        # What the host's memory was too small for needs another job.
        if len(last) == len(self.left()) and all(attempt.get("ended") == "out of host memory" for attempt in last):
            gained = False
        if file := os.environ.get(slurm.RESUBMITS):
            if gained:
                Path(file).touch()
        elif gained or self._is_preempted(stop):
            requeue_this_job(stop)

    def _is_preempted(self, stop: Stop) -> bool:
        """Whether the work was told to end before its first step, though the job has time left."""
        begun = [member for member in self.left() if member.folder in self._begun]
        recent = [read_attempts(member.work)[-MOST_RESTARTS:] for member in begun]
        told = [[_is_told_at_once(attempt) for attempt in attempts] for attempts in recent]
        if any(each == [True] * MOST_RESTARTS for each in told):
            return False
        if not any(each and each[-1] for each in told):
            # Told before it had begun with all of them.
            is_early = stop.requested and len(begun) < len(self.left())
            if not is_early or int(os.environ.get("SLURM_RESTART_COUNT", "0")) >= MOST_RESTARTS:
                return False
        here = ask_for_this_job()
        return here is not None and here.state == "RUNNING" and not is_at_limit(here)


class _Publisher:
    """Publishes what has been finished while others of a job are still worked on.

    Args:
        members: that are worked on.
        on_poll: called as often as `poll`.
    """

    def __init__(self, members: Sequence[Member], on_poll: Callable[[], None]):
        self._left = list(members)
        self._on_poll = on_poll
        self._due = time.monotonic() + PUBLISH

    def poll(self) -> None:
        """Look now and then."""
        self._on_poll()
        if time.monotonic() >= self._due:
            self.publish()
            self._due = time.monotonic() + PUBLISH

    def publish(self) -> None:
        """Publish each member that is settled."""
        for member in [member for member in self._left if member.is_settled()]:
            publish_finished(member)
            self._left.remove(member)


def _is_told_at_once(attempt: dict[str, Any]) -> bool:
    return attempt.get("ended") == "terminated" and not attempt.get("progress")


def _only(members: list[Member]) -> list[str]:
    """Arguments of a worker that works on these alone, in this order."""
    return ["--members", *(member.folder for member in members)]


def _launcher(batch: Batch[Member], gpus: int) -> list[str]:
    if gpus == 1:
        return [sys.executable]
    sharded = any(isinstance(member, TrainMember) and member.model.sharded for member in batch.members)
    config = ACCELERATE / ("fsdp.yaml" if sharded else "two-gpus.yaml")
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), "--num_processes", str(gpus),
    ]  # fmt: skip


def _run(command: list[str], stop: Stop, on_poll: Callable[[], None], locks: list[int]) -> tuple[str, str]:
    """Run the worker to its end, passing on that it has to stop; how and why it was killed, if it was.

    It inherits the locks: where it outlives this process for a moment, they stay locked.
    """
    # The launcher would kill the workers 30 s after it was told to end. They know better how long they need, so it is
    # told nothing: TERM is ignored in it (see `_before_worker`), and not taken up again.
    environment = os.environ | {"TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGINT"}
    before = oom_kills()
    # In a session of its own, so that Ctrl-C comes to the workers through this process, and once.
    worker = subprocess.Popen(
        command, env=environment, start_new_session=True, preexec_fn=_before_worker, pass_fds=locks
    )
    terminated = 0.0
    while worker.poll() is None:
        if stop.requested and time.monotonic() - terminated >= REPEAT:
            terminated = time.monotonic()
            _terminate(worker.pid)
        on_poll()
        time.sleep(0.1)
    if oom_kills() > before:
        return "out of host memory", "the job's memory limit was reached"
    if worker.returncode < 0:
        return "killed", f"by {signal.Signals(-worker.returncode).name}"
    return "killed", f"its process ended with status {worker.returncode}"


def _before_worker() -> None:
    die_with_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _terminate(worker: int) -> None:
    """Send SIGTERM to the worker and all that it has started; a launcher ignores it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(worker)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
