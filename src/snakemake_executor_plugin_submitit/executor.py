"""The executor: submits jobs, finds those of an earlier start, and tells Snakemake how they ended."""

import asyncio
import contextlib
import shutil
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit.command import JobCommand
from snakemake_executor_plugin_submitit.local import Local
from snakemake_executor_plugin_submitit.options import job_name
from snakemake_executor_plugin_submitit.records import Record, Records, key_of, wildcards_of
from snakemake_executor_plugin_submitit.slurm import Slurm
from snakemake_executor_plugin_submitit.status import FINAL, SUCCESS, Judge, States

# This is read before Snakemake looks which files are there.
STARTED = time.time()


@dataclass
class Submission(SubmittedJobInfo):
    """A job of this start of Snakemake; it has an `external_jobid` once it need not wait any more.

    Args:
        command: what it runs.
        key: what identifies it from one start to the next.
    """

    command: str = ""
    key: str = ""


class Executor(RemoteExecutor):
    """Runs Snakemake's jobs through submitit."""

    # The thread that looks at the jobs starts before `__post_init__`.
    _first, _longest = Slurm.looks
    _interval = _first
    _due = 0.0
    _cancelled = False

    def __post_init__(self) -> None:
        """Read which jobs earlier starts have submitted."""
        settings = self.workflow.executor_settings
        where = settings.cluster
        if where == "auto":
            where = "slurm" if shutil.which("srun") else "local"
        if where not in ("slurm", "local"):
            raise WorkflowError(f"--submitit-cluster {where}: choose auto, slurm or local")
        if where == "slurm" and not shutil.which("srun"):
            raise WorkflowError(
                "--submitit-cluster slurm: srun is not installed here; on a cluster, start on a login node"
            )
        folder = Path(".snakemake/submitit").absolute()
        self._records = Records(folder, where)
        self._records.drop_ended_before(STARTED)
        self._backend: Slurm | Local = (
            Slurm(folder, settings.signal_seconds) if where == "slurm" else Local(folder, self._records.all())
        )
        self._first, self._longest = self._backend.looks
        self._submitting = threading.Lock()
        self._live: dict[str, Submission] = {}
        self._judge = Judge()
        self._states: States = {}

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit jobs that are ready; those that an earlier start has submitted are looked up in one call."""
        earlier = [record for job in jobs if (record := self._records.find(key_of(job)))]
        self._states = self._backend.states([record.id for record in earlier]) if earlier else {}
        super().run_jobs(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit a job, or go on watching the one that an earlier start has submitted for the same files."""
        with _uninterrupted():
            info = Submission(job, command=self.format_job_exec(job), key=key_of(job))
            if self._start(info, self._states):
                self.report_job_submission(info)
                self._look_soon()

    async def check_active_jobs(self, active_jobs: list[Submission]) -> AsyncIterator[Submission]:
        """Tell Snakemake which jobs have ended, and yield the others."""
        if not active_jobs:
            return
        states = self._backend.states([id_ for info in active_jobs if (id_ := self._known_id(info))])
        for info in active_jobs:
            if info.external_jobid is None:
                if self._start(info, states):
                    yield info
                continue
            problem = self._judge.problem(info.external_jobid, self._records.status(info.external_jobid), states)
            if problem is None:
                yield info
            else:
                self._report(info, problem)
        if self._judge.is_unsure():
            self._interval = self._first

    async def sleep(self) -> None:
        """Wait until the next look at the jobs; new ones and the end of the workflow cut it short."""
        self._due = time.monotonic() + self._interval
        self._interval = min(self._longest, self._interval * 1.5)
        while self.wait and time.monotonic() < self._due:
            await asyncio.sleep(0.2)

    def cancel_jobs(self, active_jobs: list[Submission]) -> None:
        """End all jobs. Not only those given: while they are looked at, that list is empty."""
        with self._submitting:
            self._cancelled = True
        ids = list(self._live)
        self._backend.cancel(ids)
        for id_ in ids:
            self._records.mark_cancelled(id_)

    def _start(self, info: Submission, states: States) -> bool:
        """Adopt or submit a job; without an id afterwards, it has to wait.

        Returns:
            False if it could not be submitted, which has been reported.
        """
        if earlier := self._records.find(info.key):
            if self._is_worth_watching(earlier, states):
                self.logger.info(f"{earlier.name} was submitted before, as {earlier.id}; it is not submitted again.")
                self._watch(info, earlier.id)
                return True
            if states is None or (earlier.id in states and states[earlier.id].is_alive):
                return True  # cancelled, and still saving: two must not work on the same files
            self._records.forget(earlier, succeeded=False)
        try:
            with _uninterrupted(), self._submitting:
                gpus = self._backend.allot(info.job)
                if gpus is None or self._cancelled:
                    return True
                environment = {"LORAGRID_RESUBMITS": "submitit"}
                command = JobCommand(info.command, environment, self._backend.saving_seconds)
                id_ = self._backend.submit(info.job, command, gpus)
                name = job_name(info.job.name, wildcards_of(info.job))
                outputs = [str(file) for file in info.job.output]
                self._records.add(Record(id_, self._backend.where, info.key, name, outputs, gpus))
                self._watch(info, id_)
        except WorkflowError as error:
            self.report_job_error(info, msg=f"{error}\n")
            return False
        return True

    def _is_worth_watching(self, earlier: Record, states: States) -> bool:
        """Whether a job of an earlier start makes, or has just made, what is asked for."""
        status = self._records.status(earlier.id)
        if status is not None:
            return status == 0 and all(Path(file).exists() for file in earlier.outputs)
        if earlier.cancelled:
            return False
        if states is None:
            return True  # Slurm does not answer now; it will be asked again
        return earlier.id in states and states[earlier.id].name not in FINAL

    def _watch(self, info: Submission, id_: str) -> None:
        info.external_jobid = id_
        self._live[id_] = info

    def _known_id(self, info: Submission) -> str | None:
        """A job's id, or that of the earlier one whose end it awaits."""
        if info.external_jobid:
            return info.external_jobid
        earlier = self._records.find(info.key)
        return earlier.id if earlier else None

    def _report(self, info: Submission, problem: str) -> None:
        id_ = str(info.external_jobid)
        logs = self._records.logs(id_)
        self._live.pop(id_, None)
        if record := self._records.find(info.key):
            self._records.forget(record, succeeded=problem == SUCCESS)
        if problem == SUCCESS:
            self.report_job_success(info)
        else:
            self.report_job_error(info, msg=f"{problem}\n", aux_logs=logs)

    def _look_soon(self) -> None:
        self._interval = self._first
        self._due = min(self._due, time.monotonic() + self._first)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off, for what is submitted and for Snakemake: no job may be in the queue of which nobody knows."""
    pending: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: pending.append(number)) if main else None
    # What is started here inherits the mask: local jobs do not see Ctrl-C in the terminal, and are told by `cancel`.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if main:
            signal.signal(signal.SIGINT, before)
    if pending:
        raise KeyboardInterrupt
