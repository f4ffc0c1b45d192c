"""Fixtures: one workspace in which the nano study has run, made once and copied by each test."""

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from workspace import Workspace


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory, worker_id):
    """The nano study, run from nothing; shared by all pytest-xdist workers.

    Several sessions of pytest on the same state of the project share it in the folder that LORAGRID_TESTS_SHARE names.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    base = Path(os.environ.get("LORAGRID_TESTS_SHARE", base))
    base.mkdir(parents=True, exist_ok=True)
    folder = base / "finished"
    with FileLock(base / "finished.lock"):
        if not (base / "finished.log").exists():
            shutil.rmtree(folder, ignore_errors=True)
            done = Workspace.fresh(folder).snakemake()
            (base / "finished.log").write_text(done.stdout + done.stderr)
    return Workspace(folder)


@pytest.fixture(scope="session")
def finished_log(finished_once):
    """What that run said."""
    return (finished_once.folder.parent / "finished.log").read_text()


@pytest.fixture
def finished(finished_once, tmp_path):
    """A copy of the finished workspace, for a test to change."""
    return finished_once.copy_to(tmp_path / "workspace")


@pytest.fixture
def fresh(tmp_path):
    """The project as after a clone."""
    return Workspace.fresh(tmp_path / "workspace")


@pytest.fixture
def with_model(fresh, finished_once):
    """As after a clone, but for the nano model, which is built already."""
    (fresh.folder / "data/models").mkdir(parents=True)
    for model in (finished_once.folder / "data/models").iterdir():
        shutil.copytree(model, fresh.folder / "data/models" / model.name)
    return fresh


@pytest.fixture
def with_data(fresh, finished_once):
    """As after a clone, but for the nano study's model and data, which are there already."""
    shutil.copytree(finished_once.folder / "data", fresh.folder / "data", dirs_exist_ok=True)
    return fresh
