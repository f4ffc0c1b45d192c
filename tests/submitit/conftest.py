import pytest

import cluster


@pytest.fixture(scope="session")
def slurm():
    """A Slurm that is up. It is not brought up here: `cluster.up` restarts one whose nodes are merely busy."""
    if not cluster._states():
        pytest.skip(cluster.why_not() or "no Slurm is up: python tests/slurm/cluster.py up")
