"""Snakemake's own test suite for executor plugins, on a real Slurm."""

import pytest
import snakemake.common.tests

from snakemake_executor_plugin_submitit import ExecutorSettings


@pytest.mark.usefixtures("slurm")
class TestOnSlurm(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    __test__ = True

    def get_executor(self):
        return "submitit"

    def get_executor_settings(self):
        return ExecutorSettings(cluster="slurm")
