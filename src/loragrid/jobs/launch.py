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
from collections.abc import Callable
from pathlib import Path

import psutil

from loragrid.jobs import slurm
from loragrid.jobs.attempts import out_of_memory_attempts, read_attempts, settle_killed
from loragrid.jobs.owner import owned
from loragrid.jobs.parent import die_with_parent
from loragrid.jobs.refusals import forget_refusals, settle_hopeless
from loragrid.jobs.requeue import MOST_RESTARTS, ask_for_this_job, is_at_limit, requeue_this_job
from loragrid.jobs.stop import Stop
from loragrid.study.batches import Batch
from loragrid.study.members import Member, TrainMember

ACCELERATE = Path(__file__).parents[3] / "cluster" / "accelerate"
REPEAT = 2.0
"""Seconds between two SIGTERMs to a worker, which may not listen yet while it imports its packages."""

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

    What another process works on is waited for.

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
    command = [*_launcher(batch, gpus), "-m", "loragrid", "worker", stage, str(file), *options]
    forget_refusals(batch)
    with Stop().listening() as stop, contextlib.ExitStack() as stack:
        # In one order everywhere, so that two that want the same do not wait for each other.
        locks = [
            stack.enter_context(owned(member.work, member.is_settled, stop, on_poll))
            for member in sorted(batch.members, key=lambda member: member.work)
        ]
        waiting = stop.requested
        settle_hopeless(batch)
        while not _is_settled(batch) and not stop.requested:
            tried = sum(out_of_memory_attempts(member.work) for member in batch.members)
            begun = [len(read_attempts(member.work)) for member in batch.members]
            ended, why = _run(command, stop, on_poll, [lock for lock in locks if lock is not None])
            for member, before in zip(batch.members, begun, strict=True):
                # One that had begun before was not this worker's, and ended in another way.
                if len(read_attempts(member.work)) > before:
                    settle_killed(member.work, ended, why)
            # The next round has half the micro-batch. Whatever else went wrong is for the next job.
            if sum(out_of_memory_attempts(member.work) for member in batch.members) <= tried:
                break
        if not _is_settled(batch):
            # Slurm may repeat its SIGTERM, which must not end this process before the job is back in the queue.
            _requeue(batch, stop, waiting)
    return _is_settled(batch)


def _launcher(batch: Batch[Member], gpus: int) -> list[str]:
    if gpus == 1:
        return [sys.executable]
    sharded = any(isinstance(member, TrainMember) and member.model.sharded for member in batch.members)
    config = ACCELERATE / ("fsdp.yaml" if sharded else "two-gpus.yaml")
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), "--num_processes", str(gpus),
    ]  # fmt: skip


def _is_settled(batch: Batch[Member]) -> bool:
    return all(member.is_settled() for member in batch.members)


def _run(command: list[str], stop: Stop, on_poll: Callable[[], None], locks: list[int]) -> tuple[str, str]:
    """Run the worker to its end, passing on that it has to stop; how and why it was killed, if it was.

    It inherits the locks: where it outlives this process for a moment, they stay locked.
    """
    # The launcher would kill the workers 30 s after it was told to end. They know better how long they need, so it is
    # told nothing: TERM is ignored in it (see `_before_worker`), and not taken up again.
    environment = os.environ | {"TORCHELASTIC_SIGNALS_TO_HANDLE": "SIGINT"}
    before = _oom_kills()
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
    if _oom_kills() > before:
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


def _oom_kills() -> int:
    """How many processes of this job the kernel has killed because the job's memory limit was reached."""
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        below = path.lstrip("/")
        if controllers == "memory":  # version 1
            file = Path("/sys/fs/cgroup/memory", below, "memory.oom_control")
        elif not controllers:  # version 2
            file = Path("/sys/fs/cgroup", below, "memory.events")
        else:
            continue
        with contextlib.suppress(OSError):
            counts = dict(entry.split() for entry in file.read_text().splitlines())
            if "oom_kill" in counts:
                return int(counts["oom_kill"])
    return 0


def _requeue(batch: Batch[Member], stop: Stop, waiting: bool) -> None:
    """Put this Slurm job back into the queue if its runs can go on where they were, or tell an executor that does it.

    Not if nothing was gained before the job's time was up, which would go on for ever. Waiting for another's work gains
    what that does. An executor finds out by itself when a job is preempted.
    """
    last = [attempts[-1] for member in batch.members if (attempts := read_attempts(member.work))]
    gained = waiting or any(attempt.get("ended") in CONTINUED and attempt.get("progress") for attempt in last)
    if file := os.environ.get(slurm.RESUBMITS):
        if gained:
            Path(file).touch()
    elif gained or _is_preempted(batch):
        requeue_this_job(stop)


def _is_preempted(batch: Batch[Member]) -> bool:
    """Whether the work was told to end before its first step, though the job has time left."""
    attempts = [read_attempts(member.work)[-MOST_RESTARTS:] for member in batch.members]
    told = [[attempt.get("ended") == "terminated" and not attempt.get("progress") for attempt in a] for a in attempts]
    if not any(member and member[-1] for member in told) or any(member == [True] * MOST_RESTARTS for member in told):
        return False
    here = ask_for_this_job()
    return here is not None and here.state == "RUNNING" and not is_at_limit(here)
