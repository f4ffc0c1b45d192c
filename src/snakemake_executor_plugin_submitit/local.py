"""Jobs on this machine: each a process of its own with GPUs of its own, where there is no Slurm."""

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from submitit import Job, LocalExecutor, LocalJob

from snakemake_executor_plugin_submitit.command import JobCommand
from snakemake_executor_plugin_submitit.options import gpus_of
from snakemake_executor_plugin_submitit.records import Record
from snakemake_executor_plugin_submitit.status import State, States

# submitit wants a limit; there is none here.
TEN_YEARS_IN_MINUTES = 10 * 366 * 24 * 60

# Where there is no GPU, the CPU takes its place: jobs that want one compute one after the other.
CPU = "cpu"

# How long cancelled jobs may take to save before they are killed.
PATIENCE_SECONDS = 15


class Local:
    """This machine.

    Args:
        folder: where submitit keeps a folder for each job.
        records: jobs of earlier starts, some of which may still run and hold GPUs.
    """

    where = "local"
    # Seconds between looks at the jobs, at first and at most.
    looks = (0.5, 1.0)
    saving_seconds = float(PATIENCE_SECONDS)
    signal_seconds = 0.0  # there are no limits

    def __init__(self, folder: Path, records: list[Record]):
        self.folder = folder
        self.gpus = visible_gpus() or [CPU]
        self._pids = {record.id: record.pid for record in records}
        # Their processes are our children: asking submitit's object about one that ended lets it go.
        self._jobs: dict[str, Job[None]] = {}
        self._held = {record.id: record.gpus for record in records if self._runs(record.id)}

    def allot(self, job: JobExecutorInterface) -> list[str] | None:
        """GPUs for a job that no other one has.

        Returns:
            The GPUs (or the CPU in their place), none if it asks for none; None if it must wait for others to end.

        Raises:
            WorkflowError: it asks for more than there are.
        """
        wanted = gpus_of(job.resources)
        if self.gpus == [CPU]:
            wanted = min(wanted, 1)
        if wanted > len(self.gpus):
            raise WorkflowError(
                f"asks for {wanted} GPUs, and this machine has {len(self.gpus)}: {', '.join(self.gpus)}"
            )
        self._held = {id_: gpus for id_, gpus in self._held.items() if self._runs(id_)}
        taken = {gpu for gpus in self._held.values() for gpu in gpus}
        free = [gpu for gpu in self.gpus if gpu not in taken]
        return free[:wanted] if wanted <= len(free) else None

    def submit(
        self, job: JobExecutorInterface, command: JobCommand, gpus: list[str], record: Callable[[str, int | None], None]
    ) -> str:
        """Start a job.

        Args:
            job: it.
            command: what it runs.
            gpus: those that it has alone.
            record: is told its id and process before it can begin.

        Returns:
            Its id.
        """
        command.environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu for gpu in gpus if gpu != CPU)
        # Not the process id, which another job may have later, and before which the job's folder could not be there.
        id_ = uuid.uuid4().hex[:10]
        executor = _Started(self.folder / id_, lambda pid: record(id_, pid))
        executor.update_parameters(timeout_min=TEN_YEARS_IN_MINUTES, stderr_to_stdout=True)
        started = executor.submit(command)
        self._jobs[id_] = started
        self._pids[id_] = int(started.job_id)
        self._held[id_] = gpus
        return id_

    def states(self, ids: list[str]) -> States:
        """Which jobs run and which do not."""
        return {id_: State("RUNNING") if self._runs(id_) else State("FAILED", "its process is gone") for id_ in ids}

    def cancel(self, ids: list[str]) -> list[str]:
        """End jobs and all that they started: SIGTERM, on which trainings save, and SIGKILL for what is left.

        Returns:
            Those that could not be ended: none.
        """
        processes = []
        for id_ in ids:
            if controller := self._controller(id_):
                processes += [controller, *controller.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, left = psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return []

    def _runs(self, id_: str) -> bool:
        if job := self._jobs.get(id_):
            return not job.done()
        return self._controller(id_) is not None

    def _controller(self, id_: str) -> psutil.Process | None:
        """The process of a job, unless it has ended and its number is another one's now."""
        try:
            process = psutil.Process(self._pids.get(id_))
            ours = str(self.folder / id_) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if ours else None


class _Started(LocalExecutor):
    """submitit's executor, with jobs on record before they can begin (see `slurm.py`)."""

    def __init__(self, folder: Path, record: Callable[[int], None]):
        super().__init__(folder)
        self.record = record

    def _submit_command(self, command: str) -> LocalJob[Any]:
        started: LocalJob[Any] = super()._submit_command(command)
        self.record(int(started.job_id))
        return started


def visible_gpus() -> list[str]:
    """The GPUs of this machine that may be used, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None and shutil.which("nvidia-smi"):
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
        visible = ",".join(asked.stdout.split()) if asked.returncode == 0 else ""
    return [gpu for gpu in (visible or "").replace(" ", "").split(",") if gpu not in ("", "-1")]
