"""From a job's resources in Snakemake to options of sbatch. The names are those of the official Slurm plugin."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

# In the order of Slurm's own documentation: resource, option, form of the value.
PLAIN = (
    ("slurm_account", "account"),
    ("slurm_partition", "partition"),
    ("constraint", "constraint"),
    ("qos", "qos"),
    ("gres", "gres"),
    ("nodes", "nodes"),
    ("runtime", "time"),
)


def sbatch_options(resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Options of sbatch, as submitit takes them.

    Args:
        resources: the job's resources in Snakemake.
        threads: its threads.

    Returns:
        Parameters for submitit's executor; an option that is not among submitit's stands in `additional_parameters`.

    Raises:
        WorkflowError: a resource makes no sense.
    """
    options = {option: resources[name] for name, option in PLAIN if resources.get(name) not in (None, "")}
    # submitit's default, which clusters that keep a list of valid keys refuse.
    options["wckey"] = None
    if memory := resources.get("mem_mb_per_cpu"):
        options["mem_per_cpu"] = f"{memory}M"
    elif memory := resources.get("mem_mb"):
        options["mem"] = f"{memory}M"
    cpus = resources.get("cpus_per_task") or threads
    additional: dict[str, Any] = {"requeue": True}
    # The command runs once, on however many nodes the job has.
    options["srun_args"] = ["--nodes=1", "--ntasks=1"]
    if cpus > 0:
        options["cpus_per_task"] = cpus
        # Since Slurm 22.05 a step asks for itself: otherwise the job has the cores, and its step one of them.
        options["srun_args"].append(f"--cpus-per-task={cpus}")
    if (gpus := gpus_of(resources)) and "gres" not in options:
        model = resources.get("gpu_model")
        if model and not re.fullmatch(r"[\w.-]+", str(model)):
            raise WorkflowError(f"resource gpu_model: {model!r} is not the name of a GPU type, e.g. t4 or a100")
        additional["gpus"] = f"{model}:{gpus}" if model else gpus
    return {**options, "additional_parameters": additional}


def extra_arguments(resources: Mapping[str, Any]) -> list[str]:
    """What `slurm_extra` adds to the command line of sbatch.

    A `--signal` in it is left out: a profile for the official plugin needs one, here it is the executor's own.
    """
    try:
        arguments = shlex.split(str(resources.get("slurm_extra") or ""))
    except ValueError as error:
        raise WorkflowError(f"resource slurm_extra: {resources['slurm_extra']!r}: {error}") from None
    kept = []
    for index, argument in enumerate(arguments):
        if not argument.startswith("--signal=") and "--signal" not in (argument, *arguments[index - 1 : index]):
            kept.append(argument)
    return kept


def gpus_of(resources: Mapping[str, Any]) -> int:
    """How many GPUs a job asks for.

    Raises:
        WorkflowError: `gpu` is not a number.
    """
    gpus = resources.get("gpu") or 0
    if not isinstance(gpus, int):
        raise WorkflowError(f"resource gpu: {gpus!r} is not a whole number; the GPU's type goes into gpu_model")
    return gpus


def job_name(rule: str, wildcards: Mapping[str, str]) -> str:
    """A name by which a person finds the job in squeue."""
    parts = ["loragrid", rule, *wildcards.values()]
    return re.sub(r"[^\w.=+-]+", "_", "-".join(parts))[:100]


def comment(name: str, folder: Path) -> str:
    """What tells people where a job belongs."""
    return f"{name} of Snakemake in {folder}"
