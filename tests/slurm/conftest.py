"""A real Slurm for the tests of this folder; without root or its packages they are skipped, which says why."""

import pytest
from filelock import FileLock
from head import Head
from workspaces import finished_once, fresh, with_model

import cluster

__all__ = ["finished_once", "fresh", "with_model"]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster, up; it stays up for the next tests (`make slurm-down` ends it)."""
    if reason := cluster.why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with FileLock(tmp_path_factory.getbasetemp().parent / "slurm.lock"):
        cluster.up()
    return cluster


@pytest.fixture
def start(slurm):
    """Make the head process of a workflow in a workspace; it and its jobs are gone after the test."""
    heads = []

    def start(workspace, **options):
        heads.append(Head(workspace, **options))
        return heads[-1]

    yield start
    for head in heads:
        head.end()
