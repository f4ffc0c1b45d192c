"""What the official Slurm plugin is kept from doing, by the plugin itself."""

from types import SimpleNamespace

import snakemake_executor_plugin_slurm as plugin

from loragrid.jobs.slurm_plugin import exclude_no_failed_nodes


def test_only_nodes_that_the_profile_names_are_excluded(monkeypatch):
    submit_command = plugin.get_submit_command
    monkeypatch.setattr(plugin, "get_submit_command", submit_command)
    words = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    params = dict.fromkeys(words, "")
    job = SimpleNamespace(is_group=lambda: False, name="train", threads=1, resources={})

    def command(named):
        settings = plugin.ExecutorSettings(exclude_failed_nodes=named)
        failed = {"None assigned", "n1", *([named] if named else [])}
        return plugin.get_submit_command(job, params, settings=settings, failed_nodes=failed)

    assert "assigned" in command(None)
    exclude_no_failed_nodes()
    assert "--exclude" not in command(None)
    assert " --exclude=n7" in command("n7")
