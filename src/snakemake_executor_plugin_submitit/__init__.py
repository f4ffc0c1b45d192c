"""A Snakemake executor that submits jobs through submitit: to Slurm, or to this machine where there is none.

Unlike the official Slurm plugin, it knows of ended jobs within seconds, finds jobs that still run after Snakemake
itself was killed, and continues a job under its own id when its time is up or a more urgent job needs its place.
"""

from dataclasses import dataclass, field

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit.executor import Executor

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """What can be set on the command line or in a profile, as `--submitit-…`."""

    cluster: str = field(
        default="auto",
        metadata={
            "help": "Where jobs run: 'slurm'; 'local' for this machine, where each job gets GPUs of its own; 'auto' "
            "for slurm where srun is installed, else local.",
            "env_var": False,
            "required": False,
        },
    )
    signal_seconds: int = field(
        default=90,
        metadata={
            "help": "How many seconds before a job's time limit Slurm tells it to save and to continue in the queue "
            "(`sbatch --signal=USR2@…`). Trainings have 15 seconds less than this to save; Slurm may tell them "
            "half a minute earlier.",
            "env_var": False,
            "required": False,
        },
    )
