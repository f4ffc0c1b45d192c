"""Two processes that are to train the same run: one does, the other one waits for it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nano import records, train_member, write_batch

from loragrid.jobs import slurm
from loragrid.jobs.attempts import read_attempts

SOURCE = Path(__file__).parents[2] / "src"

# The worker takes its time before its first step.
LATE = """
import sys
if "worker" in sys.orig_argv:
    import time
    import loragrid.modeling.lend as lend
    load_base = lend.load_base
    def late(*arguments):
        time.sleep(3)
        return load_base(*arguments)
    lend.load_base = late
"""


class Start:
    """`loragrid train` of the run."""

    def __init__(self, folder, **environment):
        self.work = folder / "run" / "work"
        batch = write_batch(folder / "batch.json", train_member(folder / "run"))
        command = [sys.executable, "-m", "loragrid", "train", str(batch), "--checkpoint-minutes", "0"]
        self.output = folder / f"output-{time.monotonic_ns()}"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | environment)

    def said(self):
        return self.output.read_text()

    def until(self, seen):
        """Wait for what is to be seen."""
        deadline = time.monotonic() + 120
        while not seen():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)


@pytest.fixture
def start(nano, tmp_path):
    """Start `loragrid train` of one run, as often as wanted."""
    started = []

    def start(**environment):
        started.append(Start(tmp_path, OMP_NUM_THREADS="1", **environment))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def owner(start):
    """A start whose worker is halted between two steps until it is told to go on."""
    first = start()
    first.until(lambda: (first.work / "training.jsonl").exists() and len(records(first.work)) > 2)
    first.worker = read_attempts(first.work)[0]["pid"]
    os.kill(first.worker, signal.SIGSTOP)
    return first


@pytest.fixture
def waiting(owner, start):
    """A second start, which has seen the first one."""
    second = start()
    second.until(lambda: "waits for process" in second.said())
    assert f"process {owner.process.pid} on " in second.said()
    return second


def ends(start):
    return [attempt.get("ended") for attempt in read_attempts(start.work)]


def test_the_second_waits_and_has_nothing_left_to_do(owner, waiting):
    assert ends(owner) == [None]
    os.kill(owner.worker, signal.SIGCONT)
    assert owner.process.wait() == waiting.process.wait() == 0
    assert ends(owner) == ["finished"]
    assert "nothing left to do" in waiting.said()


@pytest.mark.parametrize("killed", ["worker", "all"])
def test_the_second_takes_over_from_the_checkpoint_of_one_that_was_killed(owner, waiting, killed):
    os.kill(owner.worker if killed == "worker" else owner.process.pid, signal.SIGKILL)
    assert owner.process.wait() == (1 if killed == "worker" else -signal.SIGKILL)
    assert waiting.process.wait() == 0, waiting.said()
    assert ends(owner) == ["killed", "finished"]
    assert "training from step 0 " not in (owner.work / "attempt-2.log").read_text()


def test_told_to_end_while_waiting_it_leaves_the_other_alone_and_will_be_started_again(owner, start, tmp_path):
    again = tmp_path / "again"
    waiting = start(**{slurm.RESUBMITS: str(again)})
    waiting.until(lambda: "waits for process" in waiting.said())
    waiting.process.send_signal(signal.SIGTERM)
    assert waiting.process.wait() == 1
    assert again.exists()
    os.kill(owner.worker, signal.SIGCONT)
    assert owner.process.wait() == 0
    assert ends(owner) == ["finished"]


def test_preempted_before_its_first_step_a_job_goes_back_into_a_fake_queue(start, fake, tmp_path):
    fake("squeue", f"7|RUNNING|None|1:00:00|{tmp_path}|rule_train\n")
    asked = fake("scontrol", "")
    (tmp_path / "late").mkdir()
    (tmp_path / "late/sitecustomize.py").write_text(LATE)
    one = start(SLURM_JOB_ID="7", LORAGRID_OWN_JOB="1", PYTHONPATH=f"{tmp_path / 'late'}:{SOURCE}")
    one.until(lambda: read_attempts(one.work))
    one.process.send_signal(signal.SIGTERM)
    one.until(lambda: "is back in the queue" in one.said())
    (attempt,) = read_attempts(one.work)
    assert (attempt["ended"], attempt["progress"]) == ("terminated", False)
    assert asked().strip() == "requeue 7"
    one.process.send_signal(signal.SIGTERM)  # by which Slurm then ends it
    assert one.process.wait() == 1
