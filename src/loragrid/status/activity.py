"""What is at work on a study now: jobs of this folder in Slurm's queue, and processes on this machine."""

import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import psutil

from loragrid.errors import UserError
from loragrid.jobs import slurm
from loragrid.study.batches import Stage, read_batch

QUEUED = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
"""States of jobs that wait; all others that squeue shows have nodes."""

SILENCE = 1800
"""Seconds without a sign of life after which work on another machine, which cannot be asked, counts as dead."""

_STAGE = "|".join(get_args(Stage))
_BATCH = re.compile(rf"(?:rule_(?P<rule>{_STAGE})_wildcards_|loragrid-(?P<name>{_STAGE})-)(?P<id>[0-9a-f]+)")
_BATCH_FILE = re.compile(rf"(?P<stage>{_STAGE})-(?P<id>[0-9a-f]+)\.json")


@dataclass(frozen=True)
class ActiveJob:
    """Something that is at work, or waits in the queue.

    Args:
        queued: whether it waits.
        reason: why it waits, in Slurm's word.
        seconds_left: until its job's time limit; None without one.
    """

    queued: bool = False
    reason: str = ""
    seconds_left: float | None = None


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
            if batch := _BATCH.fullmatch(name):
                self._add_members(batch["rule"] or batch["name"], batch["id"], active)
        for command in commands:
            # `worker train FILE` too: whoever started it may be gone.
            for argument in command[1:3] if command[0] in (*get_args(Stage), "worker") else ():
                if batch := _BATCH_FILE.fullmatch(Path(argument).name):
                    self._add_members(batch["stage"], batch["id"], ActiveJob())

    @classmethod
    def observe(cls) -> "Activity":
        """Ask the queue, once, and look at the processes of this machine."""
        return cls(slurm.jobs() if has_queue() else None, list(_commands_here()))

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
            for member in read_batch(stage, id_).members:
                self._by_member[stage, member.folder] = active


def has_queue() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("squeue") is not None


def _commands_here() -> Iterator[list[str]]:
    here = str(Path.cwd())
    for process in psutil.process_iter(["cmdline"]):
        arguments = _arguments(process.info["cmdline"] or [])
        if not arguments:
            continue
        with suppress(psutil.Error):
            if process.cwd() == here and process.status() != psutil.STATUS_ZOMBIE:
                yield arguments


def _arguments(line: list[str]) -> list[str]:
    """What follows `python -m loragrid`, or the script of that name, in a command line."""
    for position, word in enumerate(line[:4]):
        if Path(word).name == "loragrid" and (position == 0 or line[position - 1] == "-m" or "/" in word):
            return line[position + 1 :]
    return []


def _lives(pid: Any, started: float) -> bool:
    """Whether a process still runs, and its number is not another one's by now."""
    try:
        process = psutil.Process(pid)
        return process.create_time() < started + 60 and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, TypeError, ValueError):
        return False
