"""A real Slurm for the tests of this folder; without root or its packages they are skipped, which says why."""

import pytest
from filelock import FileLock
from head import Head
from interrupted import equal_to_whole, prepared
from workspaces import finished_once, fresh, with_data, with_model

import cluster

__all__ = ["equal_to_whole", "finished_once", "fresh", "prepared", "with_data", "with_model"]


def pytest_collection_modifyitems(items):
    """Begin with the longest, for which trainings are prepared; meanwhile others do what needs none of them."""

    def place(item):
        longest = "requeueing_by_hand_and_the_time_limit" in item.name
        return 0 if longest else 1 if item.path.name.startswith("test_submitit") else 2

    items.sort(key=place)
    # Each worker is given two in a row to begin with.
    items[1:3] = reversed(items[1:3])


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
