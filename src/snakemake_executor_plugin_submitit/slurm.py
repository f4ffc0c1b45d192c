"""Jobs on a Slurm cluster: submitted by submitit, watched by squeue and, where there is accounting, sacct."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from submitit import Job, SlurmExecutor
from submitit.core.utils import FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import _make_sbatch_string

from snakemake_executor_plugin_submitit.command import JobCommand
from snakemake_executor_plugin_submitit.options import comment, extra_arguments, job_name, sbatch_options
from snakemake_executor_plugin_submitit.records import wildcards_of
from snakemake_executor_plugin_submitit.status import State, States

# submitit stops continuing a job after so many time limits; a long training needs dozens.
CONTINUATIONS = 1_000_000

# A command to Slurm's controller that takes longer counts as failed; it is asked again.
TIMEOUT_SECONDS = 60

# scancel takes its ids on the command line.
CHUNK = 500


class Slurm:
    """The cluster.

    Args:
        folder: where submitit keeps a folder for each job.
        signal_seconds: how long before the end a job is told.
    """

    where = "slurm"
    # Seconds between looks at the jobs, at first and at most: the controller answers many people.
    looks = (2.0, 20.0)

    def __init__(self, folder: Path, signal_seconds: int):
        self.folder = folder
        self.signal_seconds = signal_seconds
        # Snakemake may itself run in a job, whose settings must not become those of the jobs that it submits.
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_")) and name != "SLURM_CONF"]:
            del os.environ[name]

    @property
    def saving_seconds(self) -> float:
        """How long trainings may take to save; the rest is for putting the job back into the queue."""
        return max(self.signal_seconds - 15, self.signal_seconds / 2)

    def allot(self, job: JobExecutorInterface) -> list[str]:
        """GPUs for a job: Slurm's own business."""
        return []

    def submit(
        self, job: JobExecutorInterface, command: JobCommand, gpus: list[str], record: Callable[[str, int | None], None]
    ) -> str:
        """Submit a job.

        Args:
            job: it.
            command: what it runs.
            gpus: none, on a cluster.
            record: is told its id before it can begin.

        Returns:
            Its id.

        Raises:
            WorkflowError: sbatch refuses it.
        """
        name = job_name(job.name, wildcards_of(job))
        options = sbatch_options(job.resources, job.threads)
        options["additional_parameters"] |= {"chdir": str(Path.cwd())}
        executor = _Sbatch(self.folder / "%j", extra_arguments(job.resources), lambda id_: record(id_, None))
        try:
            executor.update_parameters(
                job_name=name,
                comment=comment(name, Path.cwd()),
                signal_delay_s=self.signal_seconds,
                stderr_to_stdout=True,
                **options,
            )
            return executor.submit(command).job_id
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise WorkflowError(f"sbatch does not take the job: {error}") from None

    def states(self, ids: list[str]) -> States:
        """What Slurm says about jobs, in one call; jobs that it does not know are left out.

        Returns:
            States by job id, or None if Slurm did not answer.
        """
        # All of the user's jobs: squeue refuses a list of ids if it has forgotten the only one in it.
        # It remembers ended jobs for some minutes.
        queue = _ask("squeue", "--noheader", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%r")
        if queue is None:
            return None
        states = _parse(queue)
        if older := [id_ for id_ in ids if id_ not in states]:
            fields = ["--noheader", "--parsable2", "--allocations", "--format=JobID,State,Reason"]
            states = _parse(_ask("sacct", *fields, f"--jobs={','.join(older)}") or "") | states
        return {id_: states[id_] for id_ in ids if id_ in states}

    def cancel(self, ids: list[str]) -> list[str]:
        """End jobs, whether they wait or run.

        Returns:
            Those that Slurm did not end.
        """
        chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        return [id_ for chunk in chunks if _ask("scancel", "--quiet", *chunk) is None for id_ in chunk]


class _Sbatch(SlurmExecutor):
    """submitit's executor, with free arguments for sbatch, and jobs on record before they can begin."""

    def __init__(self, folder: Path, arguments: list[str], record: Callable[[str], None]):
        super().__init__(folder, max_num_timeout=CONTINUATIONS)
        self.arguments = arguments
        self.record = record

    def _submit_command(self, command: str) -> Job[Any]:
        submitted = super()._submit_command(command)
        # A job without its pickle, which comes after this, does nothing: so none works of which a new start of
        # Snakemake would not know.
        self.record(submitted.job_id)
        return submitted

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        return ["sbatch", *self.arguments, str(submission_file_path)]

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        # submitit's own default would be 5 minutes; without a value, the partition's default counts.
        return _make_sbatch_string(command=command, folder=self.folder, **({"time": None} | self.parameters))


def _ask(*command: str) -> str | None:
    """What a command of Slurm prints; None if it fails, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _parse(lines: str) -> dict[str, State]:
    states = {}
    for line in lines.splitlines():
        id_, state, reason = line.split("|", 2)
        states[id_] = State(state.split()[0], reason)  # sacct says who cancelled it: CANCELLED by 1000
    return states
