"""Snakemake's own test suite for executor plugins, on this machine; tests/slurm has it on Slurm."""

import snakemake.common.tests

from snakemake_executor_plugin_submitit import ExecutorSettings


class TestOnThisMachine(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True

    def get_executor(self):
        return "submitit"

    def get_executor_settings(self):
        return ExecutorSettings(cluster="local")
