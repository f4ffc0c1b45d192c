"""A run that is interrupted, by whatever and wherever, ends as the same bytes as one that is not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from nano import adapter, batch_of, end_within_a_step, records, train, train_member, write_batch

from loragrid.jobs.attempts import read_attempts
from loragrid.training import checkpoint as checkpoints
from loragrid.training.records import Records
from loragrid.training.train import train_batch
from loragrid.training.trainer import RunTrainer

# Dropout and grouping are what makes resumption hard: both draw random numbers.
RECIPE = {"dropout": 0.1, "group_by_length": True, "keep": "best"}
STEPS, VALIDATIONS = 12, (4, 8, 12)


class Killed(BaseException):
    """What no `except Exception` catches: the process is gone."""


@pytest.fixture(scope="module")
def uninterrupted(nano_root, tmp_path_factory):
    before = Path.cwd()
    os.chdir(nano_root)
    try:
        return train(tmp_path_factory.mktemp("whole") / "run", **RECIPE)
    finally:
        os.chdir(before)


@pytest.fixture
def attempt(nano, tmp_path):
    """Make an attempt at a run, with what shall happen to it; whether it finished."""

    def attempt(checkpoint_minutes=60.0, **changes):
        return train_batch(batch_of(train_member(tmp_path / "run", **(RECIPE | changes))), checkpoint_minutes)

    attempt.work = tmp_path / "run" / "work"
    return attempt


def interrupt(monkeypatch, at, how, kind="loss"):
    """Let the first record of a step be followed by a signal to this process, or by its end."""
    add = Records.add
    waiting = [True]

    def added(self, step, **values):
        add(self, step, **values)
        if waiting and step == at and kind in values:
            waiting.clear()
            if how == "kill":
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Records, "add", added)


def assert_equal(work, whole):
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)
    run, other = (json.loads((place / "run.json").read_text()) for place in (work, whole))
    assert run["loss"] == other["loss"]
    assert run["cost"]["tokens"] == other["cost"]["tokens"]


def ends(work):
    return [record["ended"] for record in read_attempts(work)]


def test_records_are_whole(uninterrupted):
    lines = records(uninterrupted)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, STEPS + 1))
    assert [line["step"] for line in lines if "validation_loss" in line] == list(VALIDATIONS)


# During step 8, before the validation that follows it, and before the very last validation.
@pytest.mark.parametrize("step", [7, 8, 12])
def test_told_to_end_at_a_step(attempt, uninterrupted, monkeypatch, step):
    interrupt(monkeypatch, step, "term")
    assert not attempt()
    assert ends(attempt.work) == ["terminated"]
    assert not (attempt.work / "run.json").exists()
    assert not (attempt.work / "failed.json").exists()
    assert attempt()
    assert ends(attempt.work) == ["terminated", "finished"]
    assert_equal(attempt.work, uninterrupted)


def test_told_to_end_within_a_step(attempt, uninterrupted, monkeypatch, tmp_path):
    """What was accumulated of the step is dropped, and the random numbers of dropout are drawn again."""
    whole = train(tmp_path / "whole", **RECIPE, micro_batch=2)
    with monkeypatch.context() as patch:
        end_within_a_step(patch, 4 * 6 + 2)
        assert not attempt(micro_batch=2)
    assert "told to end at step 6 of 12" in read_attempts(attempt.work)[0]["why"]
    assert attempt(micro_batch=2)
    assert_equal(attempt.work, whole)


def test_told_to_end_within_a_validation(attempt, uninterrupted, monkeypatch):
    validate = RunTrainer.evaluate

    def stop_and_validate(self, *arguments, **keywords):
        if self.state.global_step == 8 and len(read_attempts(attempt.work)) == 1:
            self.run.stop.signalled = True
        return validate(self, *arguments, **keywords)

    monkeypatch.setattr(RunTrainer, "evaluate", stop_and_validate)
    assert not attempt()
    assert [line["step"] for line in records(attempt.work) if "validation_loss" in line] == [4]
    # Killed after the validation that was caught up on: the third attempt goes on from the same checkpoint.
    interrupt(monkeypatch, 10, "kill")
    with pytest.raises(Killed):
        attempt()
    assert attempt()
    assert ends(attempt.work) == ["terminated", "killed", "finished"]
    assert_equal(attempt.work, uninterrupted)


@pytest.mark.parametrize(("step", "kind"), [(8, "validation_loss"), (12, "validation_loss")])
def test_killed(attempt, uninterrupted, monkeypatch, step, kind):
    interrupt(monkeypatch, step, "kill", kind)
    with pytest.raises(Killed):
        attempt(checkpoint_minutes=0.0)
    assert attempt()
    assert ends(attempt.work) == ["killed", "finished"]
    assert_equal(attempt.work, uninterrupted)


def test_killed_before_the_first_checkpoint(attempt, uninterrupted, monkeypatch):
    interrupt(monkeypatch, 6, "kill")
    with pytest.raises(Killed):
        attempt()
    assert attempt()
    assert_equal(attempt.work, uninterrupted)


def test_a_damaged_checkpoint_is_passed_over(attempt, uninterrupted, monkeypatch, capfd):
    interrupt(monkeypatch, 7, "kill")
    with pytest.raises(Killed):
        attempt(checkpoint_minutes=0.0)
    older, newest = sorted((attempt.work / "checkpoints").glob("step-*"))
    assert (older.name, newest.name) == ("step-00000005", "step-00000006")
    weights = newest / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert attempt()
    log = (attempt.work / "attempt-2.log").read_text()
    assert f"{newest}: the files are not those that were saved" in log + capfd.readouterr().out
    assert_equal(attempt.work, uninterrupted)


def test_a_changed_micro_batch_goes_on_from_the_same_checkpoint(attempt, monkeypatch):
    interrupt(monkeypatch, 6, "term")
    assert not attempt(dropout=0.0)
    assert attempt(dropout=0.0, micro_batch=2)
    whole = train(attempt.work.parents[1] / "other", **(RECIPE | {"dropout": 0.0}))
    assert [line["step"] for line in records(attempt.work)] == [line["step"] for line in records(whole)]
    for line, other in zip(records(attempt.work), records(whole), strict=True):
        assert line.get("loss", 0) == pytest.approx(other.get("loss", 0), rel=1e-4)


def test_a_checkpoint_holds_no_pickle_and_only_two_are_kept(attempt, monkeypatch):
    interrupt(monkeypatch, 9, "term")
    assert not attempt(checkpoint_minutes=0.0)
    folders = sorted((attempt.work / "checkpoints").iterdir())
    assert [folder.name for folder in folders] == ["step-00000009", "step-00000010"]
    for file in (file for file in attempt.work.rglob("*") if file.is_file()):
        assert file.suffix in {".json", ".jsonl", ".safetensors", ".log", ".lock"}, file


def run_process(batch):
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "loragrid", "train", str(batch), "--checkpoint-minutes", "0"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_records(work, number, process):
    while process.poll() is None:
        file = work / "training.jsonl"
        if file.exists() and file.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.005)
    pytest.fail(f"ended with {process.returncode} before line {number}: {process.stdout.read()}")


def test_real_signals_to_real_processes(nano, tmp_path):
    long = RECIPE | {"epochs": 15}
    member = train_member(tmp_path / "run", **long)
    batch, work = write_batch(tmp_path / "batch.json", member), tmp_path / "run" / "work"
    first = run_process(batch)
    wait_for_records(work, 8, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 1
    assert "terminated: told to end at step" in first.stdout.read()
    saved = checkpoints.load(checkpoints.newest(work / "checkpoints")[0]).step
    second = run_process(batch)
    wait_for_records(work, saved + 12, second)
    second.kill()
    assert second.wait() == -signal.SIGKILL
    assert saved < len([line for line in records(work) if "loss" in line]) < 60
    # The third attempt is this process: the bytes do not depend on which one it was.
    assert train_batch(batch_of(member), 60.0)
    assert ends(work) == ["terminated", "killed", "finished"]
    assert_equal(work, train(tmp_path / "whole", **long))
    attempts = read_attempts(work)
    cost = json.loads((work / "run.json").read_text())["cost"]
    assert cost["attempts"] == 3
    assert cost["seconds"] <= sum(a["at"] - a["started"] for a in attempts) + 0.01
