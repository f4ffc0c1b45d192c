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
from snakemake_interface_executor_plugins.logging import LoggerExecutorInterface
from snakemake_interface_executor_plugins.workflow import WorkflowExecutorInterface

from snakemake_executor_plugin_submitit.command import JobCommand
from snakemake_executor_plugin_submitit.local import Local
from snakemake_executor_plugin_submitit.options import job_name
from snakemake_executor_plugin_submitit.records import Record, Records, key_of, wildcards_of
from snakemake_executor_plugin_submitit.slurm import Slurm
from snakemake_executor_plugin_submitit.status import FINAL, PREEMPTED, SUCCESS, Judge, States

# How often to see whether a job has written its result, which costs next to nothing.
GLANCE_SECONDS = 0.5

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

    def __init__(self, workflow: WorkflowExecutorInterface, logger: LoggerExecutorInterface):
        """Read which jobs earlier starts have submitted."""
        # All before the base class starts the thread that looks at the jobs.
        settings = workflow.executor_settings
        where = _where(settings.cluster)
        folder = Path(".snakemake/submitit").absolute()
        self._records = Records(folder, where)
        self._records.drop_ended_before(STARTED)
        self._backend: Slurm | Local = (
            Slurm(folder, settings.signal_seconds) if where == "slurm" else Local(folder, self._records.all())
        )
        self._first, self._longest = self._backend.looks
        self._interval, self._due = self._first, 0.0
        self._submitting = threading.Lock()
        self._cancelled = False
        self._live: dict[str, Submission] = {}
        self._judge = Judge()
        self._states: States = {}
        super().__init__(workflow, logger)

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
        ids = [id_ for info in active_jobs if (id_ := self._known_id(info))]
        # Jobs tell themselves how they ended. Slurm is asked about the others now and then, and about one that failed.
        look = bool(active_jobs) and (time.monotonic() >= self._due or any(map(self._records.status, ids)))
        states = self._backend.states(ids) if look else None
        for info in active_jobs:
            id_ = info.external_jobid
            if id_ is None:
                if not look or self._start(info, states):
                    yield info
                continue
            status = self._records.status(id_)
            problem = self._judge.problem(id_, status, states) if look or status is not None else None
            if problem is None:
                yield info
            elif problem == PREEMPTED:
                self._wait_again(info)
                yield info
            else:
                self._report(info, problem)
        if look:
            if self._judge.is_unsure():
                self._interval = self._first
            self._due = time.monotonic() + self._interval
            self._interval = min(self._longest, self._interval * 1.5)

    async def sleep(self) -> None:
        """Wait until the next look at the jobs, or until one has ended; the end of the workflow cuts it short."""
        while True:
            await asyncio.sleep(GLANCE_SECONDS)
            if not self.wait or time.monotonic() >= self._due or any(map(self._records.has_ended, list(self._live))):
                return

    def cancel_jobs(self, active_jobs: list[Submission]) -> None:
        """End all jobs. Not only those given: while they are looked at, that list is empty."""
        with self._submitting:
            self._cancelled = True
        ids = list(self._live)
        for id_ in ids:
            self._records.mark_cancelled(id_)
        if left := self._backend.cancel(ids):
            self.logger.error(f"Slurm did not end these jobs, so do it by hand: scancel {' '.join(left)}")

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
                # Variables that jobs must have go this way, where others cannot see them as they see command lines.
                command = JobCommand(
                    info.command, self.envvars(), self._backend.saving_seconds, self._backend.signal_seconds
                )
                name = job_name(info.job.name, wildcards_of(info.job))
                outputs = [str(file) for file in info.job.output]

                def record(id_: str, pid: int | None) -> None:
                    self._records.add(Record(id_, self._backend.where, info.key, name, outputs, gpus, pid))

                self._watch(info, self._backend.submit(info.job, command, gpus, record))
                self.logger.info(f"{name} was submitted as {info.external_jobid}.")
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

    def _wait_again(self, info: Submission) -> None:
        """Let a job that was preempted for good be submitted once more: it has not failed."""
        record = self._records.find(info.key)
        if record:
            self.logger.info(f"{record.name} was preempted as {record.id}; it is submitted again.")
            self._records.forget(record, succeeded=False)
        self._live.pop(str(info.external_jobid), None)
        info.external_jobid = None
        self._look_soon()

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


def _where(cluster: str) -> str:
    """What `--submitit-cluster` stands for on this machine."""
    has_slurm = shutil.which("srun") is not None
    if cluster == "auto":
        return "slurm" if has_slurm else "local"
    if cluster not in ("slurm", "local"):
        raise WorkflowError(f"--submitit-cluster {cluster}: choose auto, slurm or local")
    if cluster == "slurm" and not has_slurm:
        raise WorkflowError("--submitit-cluster slurm: srun is not installed here; on a cluster, start on a login node")
    return cluster


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
        signal.raise_signal(signal.SIGINT)
