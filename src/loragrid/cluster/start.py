"""What has to be looked at before jobs are submitted to Slurm by its official executor plugin."""

from collections.abc import Collection
from pathlib import Path

from loragrid.cluster import slurm
from loragrid.errors import UserError


def refuse_second_start(folder: Path) -> None:
    """Do not submit anew what jobs of an earlier start, whose head process is gone, still work on.

    Args:
        folder: where the workflow runs; one start at a time holds Snakemake's lock on it.

    Raises:
        UserError: there are such jobs; the message lists them and says what to do.
    """
    left = [job for job in slurm.jobs() or () if job.comment.startswith("rule_") and Path(job.folder) == folder]
    if not left:
        return
    ids = " ".join(job.id for job in left)
    lines = [f"  {job.id}  {job.state.lower():10}  {job.comment.removeprefix('rule_')}" for job in left]
    raise UserError(
        "jobs of an earlier start are still in the queue, and this executor cannot take them over:\n"
        + "\n".join(lines)
        + "\nEither wait until they have ended (`squeue --me`) and start again: what they finish is used. Or end them "
        f"with `scancel {ids}` and start again: trainings go on from their checkpoints. "
        "(`--profile cluster/submitit` takes running jobs over by itself.)"
    )


def preemption_warning(partitions: Collection[str | None]) -> str:
    """What to know of partitions whose preempted jobs are lost; empty if there are none.

    Args:
        partitions: names of those that jobs are submitted to; None for the cluster's default.
    """
    modes = slurm.preempt_modes()
    if not modes:
        return ""
    names = {name or slurm.default_partition() for name in partitions}
    lost = sorted(name for name in names if name and modes.get(name, "").startswith("CANCEL"))
    if not lost:
        return ""
    return (
        f"partition {', '.join(lost)}: preempted jobs are cancelled here (PreemptMode=CANCEL), not queued again. The "
        "Slurm executor waits for such a job for ever. A training that is given some time to end (GraceTime) requeues "
        "itself; for everything else use another partition or `--profile cluster/submitit`."
    )
