"""Put the Slurm job that this process runs in back into the queue, where it goes on under the same number."""

import os
import shutil
import time

from loragrid.jobs import slurm
from loragrid.jobs.stop import Stop

SIGNAL_SECONDS = "LORAGRID_SIGNAL_SECONDS"
"""Environment variable: how long before its limit a job is told to end, as the profile has it."""

EARLY = 70.0
"""Seconds that Slurm may tell earlier: a minute, and a little for being asked."""

MOST_RESTARTS = 20
"""Times in a row that work is told to end and begins anew: more often, that is no preemption."""

AFTER_REQUEUE = 120
"""Seconds within which Slurm ends a job that was put back into the queue."""

PATIENCE = 120
"""Seconds of patience with a controller that does not answer, or was started anew."""

TRIES = 3
"""Times that a controller which answers is asked to requeue: it may have been away at the first."""

PAUSE = 3
"""Seconds between questions to it."""


def ask_for_this_job() -> slurm.Job | None:
    """The job that this process runs in, as the queue shows it; a controller that is away for a while is waited for.

    Returns:
        The job; None outside of one, where the queue does not have it, or if nobody answered.
    """
    if (job := slurm.own_job()) is None or shutil.which("squeue") is None:
        return None
    deadline = time.monotonic() + PATIENCE
    while (found := slurm.jobs(ids=[job])) is None and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return found[0] if found else None


def is_at_limit(here: slurm.Job) -> bool:
    """Whether a job that is told to end is told so because its time is up: it would come there again.

    Args:
        here: this process's job.
    """
    told = float(os.environ.get(SIGNAL_SECONDS, 0)) + EARLY
    return here.seconds_left is not None and here.seconds_left < told


def requeue_this_job(stop: Stop) -> bool:
    """Put this process's job back into the queue, and wait until Slurm ends it.

    Not where the job belongs to somebody else (an interactive one, or that of the head process), nor after scancel.

    Args:
        stop: listens to the signal by which Slurm ends the job; one that came before does not count.

    Returns:
        Whether the job is back in the queue.
    """
    job = slurm.own_job()
    if job is None or not slurm.has_job_to_itself():
        return False
    here = ask_for_this_job()
    if here is None or here.state != "RUNNING":
        return False  # cancelled
    stop.signalled = False
    deadline, refusals = time.monotonic() + PATIENCE, 0
    while reason := slurm.requeue(job):
        refusals += slurm.jobs(ids=[job]) is not None
        if refusals == TRIES or time.monotonic() > deadline:
            print(f"job {job} cannot be requeued ({reason}); the next attempt goes on", flush=True)
            return False
        time.sleep(PAUSE)
    print(f"job {job} is back in the queue and will go on", flush=True)
    deadline = time.monotonic() + AFTER_REQUEUE
    while not stop.signalled and time.monotonic() < deadline:
        time.sleep(0.1)
    return True
