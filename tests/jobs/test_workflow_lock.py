from pathlib import Path

import pytest
from snakemake.exceptions import LockException
from snakemake.persistence.file import FilePersistence

from loragrid.jobs.workflow_lock import keep_locks_of_others


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Snakemake's record of a start that makes a file, or none."""
    monkeypatch.chdir(tmp_path)
    for name in ("_delete_locks", "cleanup_locks"):
        monkeypatch.setattr(FilePersistence, name, getattr(FilePersistence, name))

    def start(*files):
        persistence = FilePersistence()
        monkeypatch.setattr(persistence, "all_inputfiles", lambda: [])
        monkeypatch.setattr(persistence, "all_outputfiles", lambda: files)
        return persistence

    return start


def test_one_that_ends_leaves_the_lock_of_another(start):
    keep_locks_of_others()
    keep_locks_of_others()  # the Snakefile may be read twice
    with start("results/a").lock():
        for files in ((), ("results/b",)):
            with start(*files).lock():
                pass
            with pytest.raises(LockException), start("results/a").lock():
                pass
    with start("results/a").lock():
        pass


def test_unlocking_removes_all(start):
    keep_locks_of_others()
    with start("results/a").lock():
        start().cleanup_locks()
        assert not list(Path(".snakemake").glob("locks/*"))
        with start("results/a").lock():
            pass
