import cluster
import pytest


@pytest.fixture(scope="session")
def slurm():
    if reason := cluster.why_not():
        pytest.skip(reason)
    cluster.up()
