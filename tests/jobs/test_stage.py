"""Stages without checkpoints that have to end, with a fake queue; on a real one in tests/slurm/test_stages.py."""

import os
import signal
import time

import pytest

from loragrid.errors import UserError, WorkerKilled
from loragrid.estimates.growth import grown_minutes, memory_factor
from loragrid.jobs import slurm
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.stage import attempts_folder, restarting, signal_seconds
from loragrid.jobs.workers import Workers


@pytest.fixture
def job(tmp_path, monkeypatch, fake):
    """A job of Slurm that belongs to one stage; its queue shows what the test says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(slurm.OWN_JOB, "1")

    def job(state, left):
        fake("squeue", f"7|{state}|None|{left}|{tmp_path}|rule_clean_wildcards_a\n")

    return job


def end_at_work():
    """Do some work, and be told to end; the exit status."""
    with pytest.raises(SystemExit) as end, restarting("clean", "a"):
        os.kill(os.getpid(), signal.SIGTERM)
    return end.value.code


def attempts():
    return read_attempts(attempts_folder("clean", "a"))


@pytest.mark.parametrize("state", ["RUNNING", "SIGNALING"])
def test_told_to_end_it_goes_back_into_the_queue(state, job, fake, monkeypatch):
    monkeypatch.setattr("loragrid.jobs.requeue.AFTER_REQUEUE", 0)
    job(state, "1:00:00")
    asked = fake("scontrol", "")
    assert end_at_work() == os.EX_TEMPFAIL
    assert asked().strip() == "requeue 7"
    assert [attempt["ended"] for attempt in attempts()] == ["terminated"]


def test_an_executor_that_requeues_is_told_so(job, tmp_path, monkeypatch):
    monkeypatch.setenv(slurm.RESUBMITS, str(tmp_path / "progress"))
    job("RUNNING", "1:00:00")
    end_at_work()
    assert (tmp_path / "progress").read_text() == ""


def test_at_the_limit_it_needs_a_longer_job(job, tmp_path, monkeypatch):
    monkeypatch.setenv(slurm.RESUBMITS, str(tmp_path / "progress"))
    monkeypatch.setenv("LORAGRID_SIGNAL_SECONDS", "90")
    job("RUNNING", "2:00")
    end_at_work()
    assert (tmp_path / "progress").read_text() == slurm.NOT_AGAIN
    assert [attempt["ended"] for attempt in attempts()] == ["out of time"]


def test_a_cancelled_job_is_not_requeued(job, fake):
    job("COMPLETING", "1:00:00")
    fake("scontrol", "must not be asked", status=1)
    end_at_work()
    assert "ended" not in attempts()[-1]


def test_errors_and_the_end_are_on_record(job):
    job("RUNNING", "1:00:00")
    with pytest.raises(UserError), restarting("clean", "a"):
        raise UserError("no such file")
    with restarting("clean", "a"):
        pass
    assert [(attempt["ended"], attempt["why"]) for attempt in attempts()] == [
        ("failed", "no such file"), ("finished", ""),
    ]  # fmt: skip


def test_outside_of_a_job_nothing_is_on_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(slurm.OWN_JOB, raising=False)
    with restarting("clean", "a"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("state", "minutes", "memory"), [("TIMEOUT", 120, 1), ("OUT_OF_MEMORY", 60, 1.5)])
def test_requests_grow_for_what_slurm_says(job, fake, state, minutes, memory):
    """Killed without a word, the attempt is settled by the next one."""
    job("RUNNING", "1:00:00")
    fake("sacct", state)
    place = attempts_folder("clean", "a")
    with pytest.raises(KeyboardInterrupt), restarting("clean", "a"):
        raise KeyboardInterrupt  # as good as killed: no end on record
    with pytest.raises(KeyboardInterrupt), restarting("clean", "a"):
        raise KeyboardInterrupt
    assert grown_minutes(60, place) == minutes
    assert grown_minutes(60, place, longest=90) == min(minutes, 90)
    assert memory_factor(place) == memory
    with restarting("clean", "a"):
        pass
    assert (grown_minutes(60, place), memory_factor(place)) == (60, 1), "it was enough"


def test_told_to_end_again_and_again_it_gives_up(job, tmp_path, monkeypatch):
    monkeypatch.setattr("loragrid.jobs.stage.MOST_RESTARTS", 2)
    monkeypatch.setenv(slurm.RESUBMITS, str(tmp_path / "progress"))
    job("RUNNING", "1:00:00")
    end_at_work()
    assert (tmp_path / "progress").read_text() == ""
    end_at_work()
    assert (tmp_path / "progress").read_text() == slurm.NOT_AGAIN


def test_a_damaged_record_is_begun_anew(job):
    job("RUNNING", "1:00:00")
    place = attempts_folder("clean", "a")
    place.mkdir(parents=True)
    (place / "attempts.jsonl").write_text("{damaged\n")
    assert memory_factor(place) == 1
    with restarting("clean", "a"):
        pass
    assert [attempt["ended"] for attempt in attempts()] == ["finished"]


def test_told_to_end_it_does_not_wait_for_its_workers(job, tmp_path, monkeypatch):
    monkeypatch.setenv(slurm.RESUBMITS, str(tmp_path / "progress"))
    job("RUNNING", "1:00:00")

    def work():
        with restarting("format", "a"), Workers(2, time.sleep) as workers:
            for _ in workers.map([0, *[600] * 30]):
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        work()
    assert end.value.code == os.EX_TEMPFAIL
    assert read_attempts(attempts_folder("format", "a"))[-1]["ended"] == "terminated"


def test_how_it_ended_with_a_worker_killed_slurm_is_asked(job, fake):
    job("RUNNING", "1:00:00")
    fake("sacct", "OUT_OF_MEMORY")
    with pytest.raises(WorkerKilled), restarting("clean", "a"):
        raise WorkerKilled("one of 2 processes was killed")
    assert "ended" not in attempts()[-1]
    with restarting("clean", "a"):
        pass
    assert attempts()[0]["ended"] == "out of host memory"


@pytest.mark.parametrize(("options", "seconds"), [
    ("'--signal=TERM@60'", 60), ("--mail-type=END --signal=B:USR1@120", 120), ("--signal=R:15@300 --exclusive", 300),
    ("--signal TERM@90", 90), ("--signal=TERM", 60), ("--exclusive", 0), ("", 0),
])  # fmt: skip
def test_how_long_before_its_limit_a_job_is_told(options, seconds):
    assert signal_seconds(options) == seconds
