"""What Slurm knows of jobs, asked through its own commands; where there is no Slurm, nothing is known."""

import os
import re
import subprocess
import time
from dataclasses import dataclass

RESUBMITS = "LORAGRID_RESUBMITS"
"""Environment variable of executors that put jobs back into the queue themselves: a file to make when work that has to
end has come further."""

NOT_AGAIN = "not again"
"""Text of that file where going on in the same job would be in vain: it needs a longer one."""

OWN_JOB = "LORAGRID_OWN_JOB"
"""Environment variable that the workflow sets to 1 where a batch has a job of the cluster to itself."""

SIGNALING = "SIGNALING"
"""How squeue shows a running job for the moment in which Slurm sends it a signal, e.g. to preempt it."""

PAUSES = (1.0, 4.0, 10.0)
"""Seconds between questions to a controller that does not answer."""

LOOK_AGAIN = 3.0
"""Seconds between two looks at a job that is ending."""

SECONDS = 60
"""Patience with a busy controller; without an answer work goes on as if there were no Slurm."""


@dataclass(frozen=True)
class Job:
    """A job in the queue, as squeue shows it.

    Args:
        id: number of the job.
        state: e.g. PENDING, RUNNING, COMPLETING.
        reason: why it waits; `None` for one that runs.
        comment: the Slurm executor writes `rule_<rule>_wildcards_<values>`.
        folder: working directory.
        seconds_left: until the time limit; None without one.
    """

    id: str
    state: str
    reason: str
    comment: str
    folder: str
    seconds_left: float | None


def own_job() -> str | None:
    """The Slurm job that this process runs in."""
    return os.environ.get("SLURM_JOB_ID")


def has_job_to_itself() -> bool:
    """Whether the job that this process runs in is its batch's alone: not an interactive one, nor the head's."""
    return os.environ.get(OWN_JOB) == "1"


def jobs(*, ids: list[str] | None = None) -> list[Job] | None:
    """The user's jobs in the queue, or those of the given ids.

    Returns:
        The jobs; None if the queue cannot be asked.
    """
    which = ["--jobs", ",".join(ids)] if ids else ["--me"]
    said = _ask("squeue", "--noheader", *which, "--format", "%i|%T|%r|%L|%Z|%k")
    if said is None:
        return None
    fields = (line.split("|", 5) for line in said.splitlines() if line.count("|") >= 5)
    return [
        Job(id_, "RUNNING" if state == SIGNALING else state, reason, comment, folder, seconds_of(left))
        for id_, state, reason, left, folder, comment in fields
    ]


def this_job() -> Job | None:
    """The job that this process runs in, as the queue shows it; a controller that does not answer is asked again."""
    if (job := own_job()) is None:
        return None
    for pause in PAUSES:
        if (found := jobs(ids=[job])) is not None:
            return found[0] if found else None
        time.sleep(pause)
    return None


def seconds_left() -> float | None:
    """Seconds until the time limit of the job that this process runs in.

    Returns:
        None without job or limit; also where the executor tells the work when to end: work that ended by its own clock
        before that would look as if it had failed.
    """
    job = None if RESUBMITS in os.environ else this_job()
    return job.seconds_left if job else None


def requeue(job: str) -> str:
    """Put a running job back into the queue, under the same number.

    Returns:
        Why it cannot be; empty if it was.
    """
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()


def final_state(job: str) -> str:
    """How a job that is gone from the queue ended, e.g. OUT_OF_MEMORY, NODE_FAIL, PREEMPTED; empty if unknown.

    A job that was requeued has several records; the last of those that have ended counts.
    """
    said = _ask(
        "sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--jobs", job, "--format", "State"
    )
    ended = [line.split()[0] for line in (said or "").splitlines() if line.strip()]
    ended = [state for state in ended if state not in ("RUNNING", "PENDING", "REQUEUED", "COMPLETING")]
    return ended[-1] if ended else ""


def is_running(job: str) -> bool:
    """Whether a job runs at this moment; False if unknown."""
    return any(other.state == "RUNNING" for other in jobs(ids=[job]) or ())


def is_over(job: str, patience: float = 0) -> bool:
    """Whether a job of this user has ended and nothing of it runs any more, not even to save; False if unknown.

    Args:
        job: its id.
        patience: seconds to wait for a job that is ending, or whose end the accounting does not know yet.
    """
    deadline = time.monotonic() + patience
    while (queue := jobs()) is not None:
        state = next((other.state for other in queue if other.id == job), None)
        if state is None and final_state(job):
            return True
        # What has seen the job fail may be ahead of the queue, but not of one that waits to be started again.
        if state == "PENDING" or time.monotonic() >= deadline or (state is None and not has_accounting()):
            return False
        time.sleep(LOOK_AGAIN)
    return False


def has_accounting() -> bool:
    """Whether sacct answers."""
    return _ask("sacct", "--noheader", "--allocations", "--starttime", "now") is not None


def preempt_modes() -> dict[str, str]:
    """PreemptMode by partition (upper case); empty where Slurm cannot be asked or preempts nobody."""
    config = _ask("scontrol", "show", "config")
    if config is None or re.search(r"^PreemptType\s*=\s*preempt/none", config, re.M):
        return {}
    partitions = _ask("scontrol", "show", "partition", "--oneliner") or ""
    modes = {}
    for line in partitions.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        modes[fields.get("PartitionName", "")] = fields.get("PreemptMode", "").upper()
    return modes


def default_partition() -> str | None:
    """The partition of jobs that name none."""
    said = _ask("sinfo", "--noheader", "--format", "%P")
    return next((name.rstrip("*") for name in (said or "").split() if name.endswith("*")), None)


def seconds_of(text: str) -> float | None:
    """Seconds of a time as Slurm writes it (`1-02:03:04`, `02:03:04`, `3:04`); None for `UNLIMITED` and the like."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _ask(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
