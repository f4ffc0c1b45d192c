"""What the official Slurm plugin is kept from doing, by the plugin itself."""

from types import SimpleNamespace

import snakemake_executor_plugin_slurm as plugin

from loragrid.jobs.slurm_plugin import exclude_only_nodes


def test_no_node_assigned_is_not_the_name_of_one(monkeypatch):
    submit_command = plugin.get_submit_command
    monkeypatch.setattr(plugin, "get_submit_command", submit_command)
    words = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    params = dict.fromkeys(words, "")
    job = SimpleNamespace(is_group=lambda: False, name="train", threads=1, resources={})
    failed = {"None assigned", "n1"}
    assert "assigned" in submit_command(job, params, failed_nodes=failed), "mended there: ours can go"
    exclude_only_nodes()
    command = plugin.get_submit_command(job, params, failed_nodes=failed)
    assert " --exclude=n1" in command
    assert "assigned" not in command
    assert "--exclude" not in plugin.get_submit_command(job, params, failed_nodes={"None assigned"})
