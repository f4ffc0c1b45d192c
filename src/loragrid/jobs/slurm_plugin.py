"""What Snakemake's official Slurm plugin is kept from doing, in the head process.

After a node has failed it keeps all later jobs of the study off that node. Slurm itself knows which nodes are down; one
that came back may be the only one with a GPU, and then no job could be submitted any more. Neither could one after
https://github.com/snakemake/snakemake-executor-plugin-slurm/issues/485: sacct's "None assigned", which a job has that
waits to be started again, is taken for the name of a node.
"""

from typing import Any


def exclude_no_failed_nodes() -> None:
    """Let the plugin, which has to be installed, keep jobs off those nodes only that its user names."""
    import snakemake_executor_plugin_slurm as plugin

    submit_command = plugin.get_submit_command

    def get_submit_command(job: Any, params: Any, *, settings: Any, failed_nodes: set[str], **rest: Any) -> str:
        named = (settings.exclude_failed_nodes or "").split(",")
        # The plugin's own set, of which it tells at the end.
        failed_nodes.intersection_update(node.strip() for node in named)
        return submit_command(job, params, settings=settings, failed_nodes=failed_nodes, **rest)

    plugin.get_submit_command = get_submit_command
