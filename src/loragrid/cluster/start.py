"""What has to be looked at before jobs are submitted to Slurm by its official executor plugin."""

from collections.abc import Collection
from pathlib import Path

from loragrid.cluster import slurm
from loragrid.errors import UserError

OF_PLUGIN, OF_SUBMITIT = "rule_", "loragrid-"
"""How the comment of a job begins that the Slurm plugin, or the executor `submitit`, has submitted."""


def refuse_second_start(folder: Path, *, takes_over: bool) -> None:
    """Do not submit anew what jobs of an earlier start, whose head process is gone, still work on.

    Args:
        folder: where the workflow runs; one start at a time holds Snakemake's lock on it.
        takes_over: whether the executor is `submitit`, which takes over the jobs that it has submitted.

    Raises:
        UserError: there are such jobs; the message lists them and says what to do.
    """
    foreign = (OF_PLUGIN,) if takes_over else (OF_PLUGIN, OF_SUBMITIT)
    left = [job for job in slurm.jobs() or () if job.comment.startswith(foreign) and Path(job.folder) == folder]
    if not left:
        return
    ids = " ".join(job.id for job in left)
    lines = [f"  {job.id}  {job.state.lower():10}  {job.comment.removeprefix('rule_')}" for job in left]
    raise UserError(
        "jobs of an earlier start are still in the queue, and this executor cannot take them over:\n"
        + "\n".join(lines)
        + "\nEither wait until they have ended (`squeue --me`) and start again: what they finish is used. Or end them "
        f"with `scancel {ids}` and start again: trainings go on from their checkpoints. "
        "(`--profile cluster/submitit` takes over by itself what it has submitted.)"
    )


def warnings(partitions: Collection[str | None], status_command: str) -> list[str]:
    """What to know before jobs are submitted by Slurm's official executor plugin.

    Args:
        partitions: names of those that jobs may be submitted to; None for the cluster's default.
        status_command: `sacct` or `squeue`, by which the plugin learns of jobs.
    """
    said = []
    if status_command == "sacct" and not slurm.has_accounting():
        said.append(
            "sacct does not answer, by which the Slurm executor learns how jobs ended: it would wait for ever. On a "
            "cluster without accounting set `slurm-status-command: squeue` in the profile, or use `--profile "
            "cluster/submitit`."
        )
    modes = slurm.preempt_modes()
    names = {name or slurm.default_partition() for name in partitions}
    lost = sorted(name for name in names if name and modes.get(name, "").startswith("CANCEL"))
    if lost:
        said.append(
            f"partition {', '.join(lost)}: preempted jobs are cancelled here (PreemptMode=CANCEL), not queued again. "
            "The Slurm executor waits for such a job for ever. A training that is given some time to end (GraceTime) "
            "requeues itself; for everything else use another partition or `--profile cluster/submitit`."
        )
    return said
