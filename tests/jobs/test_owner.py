"""Who works in a work folder, and who waits: with other processes that own it, and fakes of Slurm's commands."""

import json
import platform
import signal
import subprocess
import sys
import threading
import time

import pytest

from loragrid.jobs import owner, slurm
from loragrid.jobs.attempts import read_attempts, settle_if_gone
from loragrid.jobs.owner import owned
from loragrid.jobs.stop import Stop

OWNS = """
import sys
from pathlib import Path
from loragrid.jobs.owner import owned
from loragrid.jobs.stop import Stop
with owned(Path(sys.argv[1]), lambda: False, Stop(), lambda: None):
    print("owned", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def work(tmp_path):
    """A work folder in which an attempt has begun."""
    folder = tmp_path / "run" / "work"
    folder.mkdir(parents=True)
    (folder / "attempts.jsonl").write_text('{"attempt": 1, "started": 1000, "log": "attempt-1.log", "job": "7"}\n')
    return folder


@pytest.fixture
def other(work):
    """Another process that owns the folder until its input ends."""
    with subprocess.Popen([sys.executable, "-c", OWNS, str(work)], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout.readline() == "owned\n"
        yield process
        process.kill()


@pytest.fixture
def left_locked(work):
    """As NFS may leave it after a node lost power: locked, and the name of the last owner in it."""
    (work / "work.lock").write_text(json.dumps({"job": "7", "host": "lost", "pid": 1}))
    holder = subprocess.Popen(["flock", str(work / "work.lock"), "-c", "echo locked; read _"], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout.readline() == "locked\n"
    yield
    holder.communicate("\n")


def wait(work, at_poll=lambda stop: None, settled=lambda: False):
    """Wait for a folder; whether it was owned in the end."""
    stop = Stop()
    with owned(work, settled, stop, lambda: at_poll(stop)) as lock:
        return lock is not None


def end(stop):
    stop.signalled = True


def test_who_has_the_folder_is_told_once(work, other, capsys):
    polls = []

    def at_poll(stop):
        polls.append(1)
        stop.signalled = len(polls) > 15

    assert not wait(work, at_poll)
    assert capsys.readouterr().out.splitlines() == [
        f"{work.parent}: waits for process {other.pid} on {platform.node()}, which works on it"
    ]


def test_the_folder_is_had_once_its_owner_has_ended(work, other):
    threading.Timer(1, other.stdin.close).start()
    assert wait(work)
    assert other.wait() == 0


def test_the_folder_is_had_once_its_owner_was_killed(work, other):
    assert wait(work, lambda _: other.kill())


def test_what_is_finished_meanwhile_is_left_alone(work, other, capsys):
    polls = []
    assert not wait(work, lambda _: polls.append(1), settled=lambda: bool(polls))
    assert "nothing left to do" in capsys.readouterr().out


def test_the_time_limit_of_the_own_job_ends_the_waiting(work, other, fake, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    fake("squeue", "9|RUNNING|None|0:05|/home/me/grid|rule_train_wildcards_a\n")
    stop = Stop()
    with owned(work, lambda: False, stop, lambda: None) as lock:
        assert lock is None
    assert stop.by_clock


@pytest.mark.parametrize("alone", [True, False])
def test_a_lock_that_a_lost_node_has_left_does_not_stop_its_requeued_job(work, left_locked, fake, monkeypatch, alone):
    fake("squeue", "7|RUNNING|None|1:00:00|/grid|rule_train\n")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    if alone:
        monkeypatch.setenv("LORAGRID_OWN_JOB", "1")
    for _ in range(2):  # what one has taken over, the next life of the job takes over, too
        assert wait(work, end) is alone


@pytest.mark.parametrize("ended", ["NODE_FAIL\n", ""])
def test_a_lock_that_a_lost_node_has_left_does_not_stop_other_jobs(work, left_locked, fake, ended):
    fake("squeue", "")
    fake("sacct", ended)
    assert wait(work, end) is bool(ended)


def test_without_locks_between_machines_the_queue_tells_sparingly_whether_the_owner_lives(work, fake, monkeypatch):
    monkeypatch.setattr(owner, "QUEUE_PAUSE", 2.0)
    (work / "work.lock").write_text(json.dumps({"job": "7", "host": "elsewhere", "pid": 1}))
    fake("squeue", "7|RUNNING|None|1:00:00|/grid|rule_train\n")
    questions = []
    ask = slurm.is_running
    monkeypatch.setattr(slurm, "is_running", lambda job: questions.append(job) or ask(job))
    began = time.monotonic()

    def at_poll(_):
        if time.monotonic() > began + 1:
            fake("squeue", "")

    assert wait(work, at_poll)
    assert questions == ["7", "7"]


def test_a_living_attempt_is_settled_by_its_owner_only(work, other):
    settle_if_gone(work)
    assert [attempt.get("ended") for attempt in read_attempts(work)] == [None]
    other.send_signal(signal.SIGKILL)
    other.wait()
    settle_if_gone(work)
    assert [attempt.get("ended") for attempt in read_attempts(work)] == ["killed"]
