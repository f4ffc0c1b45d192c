"""What is read from Slurm's commands; fakes on the PATH answer here, the real ones in tests/slurm."""

import json
import time
from types import SimpleNamespace

import pytest

from loragrid.jobs import slurm
from loragrid.jobs.attempts import read_attempts, settle_killed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3:04", 184), ("02:03:04", 7384), ("1-02:03:04", 93784), ("UNLIMITED", None), ("NOT_SET", None), ("", None)],
)
def test_times_as_slurm_writes_them(text, seconds):
    assert slurm.seconds_of(text) == seconds


def test_seconds_left_with_a_fake_squeue(fake, monkeypatch):
    fake("squeue", "7|RUNNING|None|1:59:00|/home/me/grid|rule_train_wildcards_a|b\n")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert slurm.seconds_left() == 7140
    (job,) = slurm.jobs()
    assert (job.id, job.state, job.folder, job.comment) == ("7", "RUNNING", "/home/me/grid", "rule_train_wildcards_a|b")
    # An executor that puts jobs back into the queue itself tells them when to end.
    monkeypatch.setenv(slurm.RESUBMITS, "submitit")
    assert slurm.seconds_left() is None


def test_a_controller_that_does_not_answer_is_no_limit_with_a_fake_squeue(fake, monkeypatch):
    fake("squeue", "slurm_load_jobs error: Unable to contact slurm controller", status=1)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(slurm, "PAUSES", (0.1, 0.1))
    assert slurm.seconds_left() is None
    assert slurm.jobs() is None


@pytest.mark.parametrize(
    ("said", "ended", "why"),
    [
        ("OUT_OF_MEMORY\n", "out of host memory", "Slurm job 7: OUT_OF_MEMORY"),
        ("REQUEUED\nOUT_OF_MEMORY\n", "out of host memory", "Slurm job 7: OUT_OF_MEMORY"),
        ("NODE_FAIL\n", "killed", "Slurm job 7: NODE_FAIL"),
        ("CANCELLED by 1000\n", "killed", "Slurm job 7: CANCELLED"),
        ("RUNNING\n", "killed", ""),
        ("", "killed", ""),
    ],
)
def test_how_a_job_that_left_no_word_ended_with_a_fake_sacct(said, ended, why, fake, tmp_path):
    asked = fake("sacct", said)
    work = tmp_path / "work"
    work.mkdir()
    (work / "attempts.jsonl").write_text(json.dumps({"attempt": 1, "started": 1.0, "log": "l", "job": "7"}) + "\n")
    settle_killed(work)
    assert "--jobs 7" in asked()
    (attempt,) = read_attempts(work)
    assert (attempt["ended"], attempt["why"]) == (ended, why)


def test_partitions_that_cancel_with_a_fake_scontrol(fake):
    fake("scontrol", "PartitionName=a PreemptMode=CANCEL\nPartitionName=b PreemptMode=REQUEUE\n")
    assert slurm.preempt_modes() == {"a": "CANCEL", "b": "REQUEUE"}


def test_nobody_is_preempted_with_a_fake_scontrol(fake):
    fake("scontrol", "PreemptType             = preempt/none\nPartitionName=a PreemptMode=CANCEL\n")
    assert slurm.preempt_modes() == {}


@pytest.mark.parametrize(("queue", "accounting", "over"), [
    ("", "NODE_FAIL\n", True),
    ("7|COMPLETING|None|1:00|/grid|rule_train\n", "CANCELLED by 1000\n", False),  # it may be saving
    ("8|RUNNING|None|1:00|/grid|rule_train\n", "PREEMPTED\n", True),
    ("", "", False),
    (None, "NODE_FAIL\n", False),
])  # fmt: skip
def test_a_job_is_over_once_it_has_left_a_fake_queue(queue, accounting, over, fake):
    fake("squeue", queue or "", status=1 if queue is None else 0)
    fake("sacct", accounting)
    assert slurm.is_over("7") is over


def waiting(monkeypatch, happens):
    """Let something happen while the module waits; only the module, for subprocess sleeps, too, where it is busy."""
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: happens())
    monkeypatch.setattr(slurm, "time", clock)


def test_the_end_of_a_job_that_is_ending_is_waited_for_with_a_fake_queue(fake, monkeypatch):
    waiting(monkeypatch, lambda: fake("squeue", ""))
    fake("squeue", "7|COMPLETING|None|1:00|/grid|rule_clean\n")
    fake("sacct", "TIMEOUT\n")
    assert slurm.is_over("7", patience=30)


def test_the_accounting_may_be_late_and_may_not_be_there_with_fake_commands(fake, monkeypatch):
    waiting(monkeypatch, lambda: fake("sacct", "TIMEOUT\n"))
    fake("squeue", "")
    fake("sacct", "RUNNING\n")
    assert slurm.is_over("7", patience=30)
    fake("sacct", "", status=1)
    assert not slurm.is_over("7", patience=30)
