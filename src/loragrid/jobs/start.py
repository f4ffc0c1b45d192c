"""What has to be looked at before jobs are submitted to Slurm by its official executor plugin."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from loragrid.errors import UserError
from loragrid.jobs import slurm


def refuse_second_start(folder: Path, submitted: Iterable[tuple[str, Mapping[str, str]]], *, takes_over: bool) -> None:
    """Do not submit anew what jobs of another start still work on.

    Args:
        folder: where the workflow runs.
        submitted: the jobs that this start would submit: rule, and wildcards by name.
        takes_over: whether the executor is `submitit`, which takes over the jobs that it has submitted.

    Raises:
        UserError: there are such jobs; the message lists them and says what to do.
    """
    comments: set[str] = set()
    for rule, wildcards in submitted:
        comments.add(_comment_of_plugin(rule, wildcards))
        if not takes_over:
            comments.add(_comment_of_submitit(rule, wildcards, folder))
    left = [
        job for job in slurm.jobs() or () if job.comment in comments and Path(job.folder).resolve() == folder.resolve()
    ]
    if not left:
        return
    ids = " ".join(job.id for job in left)
    lines = [f"  {job.id}  {job.state.lower():10}  {job.comment.removeprefix('rule_')}" for job in left]
    raise UserError(
        "what this start would submit is in the queue already, from another start that it cannot take over:\n"
        + "\n".join(lines)
        + "\nIf another Snakemake still runs in this folder, leave them to it. If its process is gone, either wait "
        "until they have ended (`squeue --me`) and start again: what they finish is used. Or end them with "
        f"`scancel {ids}` and start again: trainings go on from their checkpoints. "
        "(`--profile cluster/submitit` takes over by itself what it has submitted.)"
    )


def _comment_of_plugin(rule: str, wildcards: Mapping[str, str]) -> str:
    values = "_".join(wildcards.values()).replace("/", "_")
    return f"rule_{rule}_wildcards_{values}" if values else f"rule_{rule}"


def _comment_of_submitit(rule: str, wildcards: Mapping[str, str], folder: Path) -> str:
    from snakemake_executor_plugin_submitit.options import comment, job_name

    return comment(job_name(rule, wildcards), folder)


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
            "The Slurm executor waits for such a job for ever. What is given some time to end (GraceTime) requeues "
            "itself; otherwise use another partition or `--profile cluster/submitit`."
        )
    return said
