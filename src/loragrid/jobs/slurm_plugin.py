"""A defect of Snakemake's official Slurm plugin, mended in the head process until the plugin does it.

https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/485: it keeps jobs off nodes that have failed, and
takes sacct's "None assigned", which a job has that waits to be started again, for the name of one. From then on no job
of the study can be submitted.
"""

from typing import Any


def exclude_only_nodes() -> None:
    """Let the plugin, which has to be installed, exclude nothing from its submissions that is not a node."""
    import snakemake_executor_plugin_slurm as plugin

    submit_command = plugin.get_submit_command

    def get_submit_command(*arguments: Any, failed_nodes: set[str] | None = None, **settings: Any) -> str:
        nodes = {node for node in failed_nodes or () if " " not in node}
        return submit_command(*arguments, failed_nodes=nodes, **settings)

    plugin.get_submit_command = get_submit_command
