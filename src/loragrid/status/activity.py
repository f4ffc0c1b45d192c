"""What is at work on a study now: jobs of this folder in Slurm's queue, and processes on this machine."""

import platform
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from loragrid.errors import UserError
from loragrid.jobs import slurm
from loragrid.jobs.living import batch_named, batches_in, commands_here, has_queue
from loragrid.study.batches import read_batch
from loragrid.study.members import Stage

QUEUED = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
"""States of jobs that wait; all others that squeue shows have nodes."""

SILENCE = 1800
"""Seconds without a sign of life after which work on another machine, which cannot be asked, counts as dead."""


@dataclass(frozen=True)
class ActiveJob:
    """Something that is at work, or waits in the queue.

    Args:
        queued: whether it waits.
        others: members of its job beside the one in question, which may be worked on before it.
        reason: why it waits, in Slurm's word.
        seconds_left: until its job's time limit; None without one.
    """

    queued: bool = False
    reason: str = ""
    seconds_left: float | None = None
    others: int = 0


class Activity:
    """What is at work now.

    Args:
        queue: the user's jobs; None if nobody could be asked.
        commands: arguments of each `loragrid` that runs on this machine, in this folder.
    """

    def __init__(self, queue: list[slurm.Job] | None, commands: list[list[str]]):
        self.queue = queue
        self._commands = commands
        here = Path.cwd()
        self._by_id: dict[str, ActiveJob] = {}
        self._by_name: dict[str, ActiveJob] = {}
        self._by_member: dict[tuple[str, str], ActiveJob] = {}
        # Those that run come last and count: an older job may wait for the same.
        for job in sorted(queue or (), key=lambda job: job.state not in QUEUED):
            if Path(job.folder).resolve() != here:
                continue
            active = ActiveJob(job.state in QUEUED, job.reason, job.seconds_left)
            name = job.comment.partition(" of Snakemake in ")[0]
            self._by_id[job.id] = self._by_name[name] = active
            if batch := batch_named(job.comment):
                self._add_members(*batch, active)
        for batch in batches_in(commands):
            self._add_members(*batch, ActiveJob())

    @classmethod
    def observe(cls) -> "Activity":
        """Ask the queue, once, and look at the processes of this machine."""
        return cls(slurm.jobs() if has_queue() else None, list(commands_here()))

    def of_rule(self, rule: str, wildcards: tuple[str, ...], command: tuple[str, ...]) -> ActiveJob | None:
        """What works on one job of a rule.

        Args:
            rule: its name.
            wildcards: their values, in the order of the rule's output.
            command: the stage of `python -m loragrid`, and arguments that tell the job from others.
        """
        # As the Slurm executor and our own call their jobs; a test compares with theirs.
        official = f"rule_{rule}_wildcards_{'_'.join(wildcards).replace('/', '_')}"
        own = re.sub(r"[^\w.=+-]+", "_", "-".join(["loragrid", rule, *wildcards]))[:100]
        stage, *telling = command
        if any(line[0] == stage and set(telling) <= set(line) for line in self._commands):
            return ActiveJob()
        return self._by_name.get(official) or self._by_name.get(own)

    def of_member(self, stage: Stage, folder: str) -> ActiveJob | None:
        """The job or process whose batch has this member."""
        return self._by_member.get((stage, folder))

    def of_attempt(self, attempt: dict[str, Any], last_sign: float) -> ActiveJob | None:
        """What still works on an attempt that has begun and not ended.

        Args:
            attempt: its record.
            last_sign: when it last wrote something (seconds since 1970).

        Returns:
            None if nothing does any more.
        """
        job = self._by_id.get(str(attempt.get("job")))
        # A process tells more than its job, which may be an interactive one that outlives it.
        if attempt.get("host") == platform.node():
            if _lives(attempt.get("pid"), attempt["started"]):
                return ActiveJob(seconds_left=job.seconds_left if job else None)
            return job if job and job.queued else None
        if attempt.get("job") and self.queue is not None:
            return job
        return ActiveJob() if time.time() - last_sign < SILENCE else None

    def _add_members(self, stage: Any, id_: str, active: ActiveJob) -> None:
        with suppress(UserError, KeyError, TypeError):
            members = read_batch(stage, id_).members
            for member in members:
                self._by_member[stage, member.folder] = replace(active, others=len(members) - 1)


def _lives(pid: Any, started: float) -> bool:
    """Whether a process still runs, and its number is not another one's by now."""
    try:
        process = psutil.Process(pid)
        return process.create_time() < started + 60 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError):
        return False
