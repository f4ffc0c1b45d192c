"""What has been submitted: one JSON file in each job's folder, so that a new start finds jobs that still run.

A job's folder is `.snakemake/submitit/<id>`. It also has submitit's pickle and log, and the exit status that the job
writes (see `command.py`). It goes when the job has succeeded; of a job that failed, the log stays.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit.command import PROGRESS, RESULT, write_json

RECORD = "job.json"


@dataclass(frozen=True)
class Record:
    """One submitted job.

    Args:
        id: Slurm's job id, or one of our own for a job on this machine.
        where: `slurm` or `local`.
        key: what the job makes (see `key_of`).
        name: rule and wildcards, for people.
        outputs: the files that it makes.
        gpus: on this machine: the GPUs that it has.
        pid: on this machine: its process.
        cancelled: whether it was told to end; it may still be busy saving.
    """

    id: str
    where: str
    key: str
    name: str
    outputs: list[str]
    gpus: list[str]
    pid: int | None = None
    cancelled: bool = False


class Records:
    """The records in a folder.

    Args:
        folder: `.snakemake/submitit`; it is made, for its user alone.
        where: whose records count; others are left alone.

    Raises:
        WorkflowError: the folder is another user's.
    """

    def __init__(self, folder: Path, where: str):
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            # Jobs run what lies there, so nobody else may write into it.
            raise WorkflowError(f"{folder} belongs to another user: start where you have a working copy of your own")
        folder.chmod(0o700)
        self.folder = folder
        self._by_key: dict[str, Record] = {}
        for file in folder.glob(f"*/{RECORD}"):
            try:
                record = Record(**json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise WorkflowError(
                    f"{file} cannot be read ({error}): make sure that the job {file.parent.name} has ended, delete the "
                    "file, and start again"
                ) from None
            if record.where == where:
                self._by_key[record.key] = record

    def all(self) -> list[Record]:
        """Every record."""
        return list(self._by_key.values())

    def find(self, key: str) -> Record | None:
        """The job that makes this, if one was submitted and has not been seen to end."""
        return self._by_key.get(key)

    def add(self, record: Record) -> None:
        """Remember a job that was just submitted."""
        (self.folder / record.id).mkdir(exist_ok=True)
        self._write(record)
        for link in self.folder.glob(".submission_file_*"):
            link.unlink(missing_ok=True)  # submitit's; it only leads to a file in the job's folder

    def drop_ended_before(self, start: float) -> None:
        """Forget jobs whose results a start of Snakemake has found: if it wants one again, it has its reasons."""
        for record in self.all():
            status = self.status(record.id)
            if status is not None and (self.folder / record.id / RESULT).stat().st_mtime < start:
                self.forget(record, succeeded=status == 0)

    def mark_cancelled(self, id_: str) -> None:
        """Note that a job was told to end."""
        for record in self.all():
            if record.id == id_:
                self._write(replace(record, cancelled=True))

    def forget(self, record: Record, succeeded: bool) -> None:
        """Remove what a job that has ended leaves behind, but for the log of one that failed."""
        self._by_key.pop(record.key, None)
        folder = self.folder / record.id
        if succeeded:
            shutil.rmtree(folder, ignore_errors=True)
            return
        for pattern in (RECORD, RESULT, PROGRESS, "*.pkl", "*.save_tmp"):
            for file in folder.glob(pattern):
                file.unlink(missing_ok=True)

    def _write(self, record: Record) -> None:
        write_json(self.folder / record.id / RECORD, asdict(record))
        self._by_key[record.key] = record

    def has_ended(self, id_: str) -> bool:
        """Whether a job's command has ended; cheaper than asking how."""
        return (self.folder / id_ / RESULT).exists()

    def status(self, id_: str) -> int | None:
        """The exit status of a job's command; None if it has not ended, or was killed together with its job."""
        try:
            return json.loads((self.folder / id_ / RESULT).read_text(encoding="utf-8"))["status"]
        except (OSError, ValueError):
            return None  # on network file systems also for a moment after it was written

    def logs(self, id_: str) -> list[str]:
        """What the job printed."""
        return sorted(str(file) for file in (self.folder / id_).glob("*_log.*"))


def key_of(job: JobExecutorInterface) -> str:
    """What identifies a job from one start of Snakemake to the next: its rules and the files that it makes."""
    return hashlib.sha256(json.dumps([sorted(job.rules), *identity(job)]).encode()).hexdigest()


def identity(job: JobExecutorInterface) -> list[str]:
    """The outputs of a job; where it has none, its wildcards."""
    outputs = sorted(str(file) for file in job.output)
    return outputs or [f"{name}={value}" for name, value in sorted(wildcards_of(job).items())]


def wildcards_of(job: JobExecutorInterface) -> dict[str, str]:
    """Wildcards by name; none for a group of jobs."""
    return {} if job.is_group() else {name: str(value) for name, value in job.wildcards.items()}
