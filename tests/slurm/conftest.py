"""A real Slurm for the tests of this folder; without root or its packages they are skipped, which says why."""

import itertools

import pytest
from filelock import FileLock
from head import Head
from interrupted import equal_to_whole, prepared
from workspaces import finished_once, fresh, with_data, with_model

import cluster

__all__ = ["equal_to_whole", "finished_once", "fresh", "prepared", "with_data", "with_model"]


LONGEST = ("requeueing_by_hand_and_the_time_limit", "use_up_no_attempt")
"""Tests of five minutes, as parts of their names; for the first, trainings are prepared that others want, too."""


def pytest_collection_modifyitems(items):
    """Begin with the longest and end with the shortest, so that no worker waits for the last test of another one."""
    longest = [item for item in items if any(name in item.name for name in LONGEST)]
    rest = [item for item in items if item not in longest]
    rest.sort(key=lambda item: item.path.name.startswith("test_submitit"))
    # Each worker is given two in a row to begin with.
    kept = max(0, len(rest) - len(longest))
    pairs = itertools.zip_longest(longest, rest[kept:])
    items[:] = [item for pair in pairs for item in pair if item] + rest[:kept]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster, up; it stays up for the next tests (`make slurm-down` ends it)."""
    if reason := cluster.why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with FileLock(tmp_path_factory.getbasetemp().parent / "slurm.lock"):
        cluster.up()
    return cluster


@pytest.fixture
def node(worker_id):
    """The node of this worker of pytest-xdist: preempting and killing disturb no other test."""
    return cluster.NODES[int(worker_id.removeprefix("gw")) % len(cluster.NODES) if worker_id != "master" else 0]


@pytest.fixture
def start(slurm, node):
    """Make the head process of a workflow in a workspace; it and its jobs are gone after the test."""
    heads = []

    def start(workspace, **options):
        heads.append(Head(workspace, node, **options))
        return heads[-1]

    yield start
    for head in heads:
        head.end()
