"""A real Slurm for the tests of this folder, and workspaces on it; without root or packages they are skipped."""

import importlib.util
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from filelock import FileLock
from workspace import Workspace

SPECIFICATION = importlib.util.spec_from_file_location("cluster", Path(__file__).with_name("cluster.py"))
cluster = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(cluster)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """The cluster of cluster.py, up; left up for the next tests (`make slurm-down` ends it)."""
    if reason := cluster.why_not():
        pytest.skip(f"no Slurm here: {reason}")
    with FileLock(tmp_path_factory.getbasetemp().parent / "slurm.lock"):
        cluster.up()
    return cluster


@pytest.fixture
def workspace(slurm, tmp_path, finished_once):
    """The project as after a clone, with the nano model built; its jobs are gone after the test."""
    fresh = Workspace.fresh(tmp_path / "workspace")
    (fresh.folder / "data/models").mkdir(parents=True)
    for model in (finished_once.folder / "data/models").iterdir():
        shutil.copytree(model, fresh.folder / "data/models" / model.name)
    yield fresh
    for job in jobs(fresh.folder):
        subprocess.run(["scancel", job["id"]], check=False)


def jobs(folder):
    """The jobs in the queue that were submitted from a folder."""
    said = subprocess.run(["squeue", "-h", "-o", "%i|%T|%k|%Z"], capture_output=True, text=True, check=True).stdout
    fields = [line.split("|") for line in said.splitlines()]
    return [
        {"id": id_, "state": state, "comment": comment} for id_, state, comment, place in fields if place == str(folder)
    ]


def wait_until(there, *, seconds=120, what=lambda: ""):
    """Wait for something that is sure to come; with what is known if it does not."""
    deadline = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)
    return found
