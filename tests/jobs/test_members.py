"""A job of several members: what happens to one of them does not keep the others from being made, and made once."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nano import train_member, write_batch

from loragrid.jobs import slurm
from loragrid.jobs.attempts import read_attempts

SOURCE = Path(__file__).parents[2] / "src"

# What happens in the worker to the run of one rank.
MISHAP = """
import os, sys
if "worker" in sys.orig_argv:
    import time
    import loragrid.training.train as training
    train = training._train
    def mishap(member, *rest):
        if member.run.recipe.rank == 4:
            exec(os.environ["MISHAP"])
        train(member, *rest)
    training._train = mishap
"""


@pytest.fixture
def job(nano, tmp_path):
    """`loragrid train` of a job with runs of the ranks 2, 4 and 8, as often as wanted."""
    members = [train_member(tmp_path / f"r{rank}", rank=rank, max_steps=2, evaluations=1) for rank in (2, 4, 8)]
    batch = write_batch(tmp_path / "batch.json", *members)
    (tmp_path / "mishap").mkdir()
    (tmp_path / "mishap/sitecustomize.py").write_text(MISHAP)
    command = [sys.executable, "-m", "loragrid", "train", str(batch)]

    def start(mishap="pass", **environment):
        more = {"MISHAP": mishap, "PYTHONPATH": f"{tmp_path / 'mishap'}:{SOURCE}", "OMP_NUM_THREADS": "1"} | environment
        return subprocess.Popen(
            command, env=os.environ | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(mishap="pass", **environment):
        process = start(mishap, **environment)
        return process.communicate()[0], process.returncode

    run.start = start
    run.ends = lambda: {
        member.run.recipe.rank: [attempt.get("ended") for attempt in read_attempts(member.work)] for member in members
    }
    run.workers = lambda: {
        attempt["pid"] for member in members for attempt in read_attempts(member.work)
    }  # processes that have begun something
    run.folder = tmp_path
    return run


def test_all_are_trained_in_one_process(job):
    said, status = job()
    assert status == 0, said
    assert job.ends() == {2: ["finished"], 4: ["finished"], 8: ["finished"]}
    assert len(job.workers()) == 1
    for rank in (2, 4, 8):
        assert (job.folder / f"r{rank}/work/attempt-1.log").read_text().count("training from step 0 to 2") == 1
        published = {str(file.relative_to(job.folder / f"r{rank}")) for file in (job.folder / f"r{rank}").rglob("*")}
        assert published >= {
            "run.json", "training.jsonl", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        }  # fmt: skip


KILLED = "os.kill(os.getpid(), 9)"
DEFECT = "raise ValueError('a defect')"


@pytest.mark.parametrize(("mishap", "ended"), [(KILLED, "killed"), (DEFECT, "failed")])
def test_after_one_that_dies_a_new_process_makes_the_others_and_the_third_death_is_the_last(job, mishap, ended):
    said, status = job(mishap)
    assert status == 1, said
    assert job.ends() == {2: ["finished"], 4: [ended], 8: ["finished"]}
    assert len(job.workers()) == 2
    assert job(mishap)[1] == 1
    said, status = job(mishap)
    assert status == 0, said  # settled: whoever waits for the others goes on
    assert job.ends() == {2: ["finished"], 4: [ended] * 3, 8: ["finished"]}
    failure = json.loads((job.folder / "r4/work/failed.json").read_text())
    why = "by SIGKILL" if ended == "killed" else "ValueError: a defect"
    assert failure["reason"] == f"it died 3 times in a row without coming further ({why})"
    assert job(mishap)[1] == 0
    assert len(job.ends()[4]) == 3
    # Whoever deletes the record gets three more.
    (job.folder / "r4/work/failed.json").unlink()
    assert job(mishap)[1] == 1
    assert job()[1] == 0
    assert job.ends()[4] == [ended] * 4 + ["finished"]


NEVER_BEGINS = """
import sys
if "worker" in sys.orig_argv:
    with open({!r}, "a") as starts:
        starts.write("x")
    raise SystemExit("no torch here")
"""


def test_a_worker_that_cannot_begin_is_not_started_for_each_member(nano, tmp_path):
    batch = write_batch(
        tmp_path / "batch.json", *(train_member(tmp_path / f"r{rank}", rank=rank) for rank in range(1, 9))
    )
    (tmp_path / "sitecustomize.py").write_text(NEVER_BEGINS.format(str(tmp_path / "starts")))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{SOURCE}"}
    done = subprocess.run(
        [sys.executable, "-m", "loragrid", "train", str(batch)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert (tmp_path / "starts").read_text() == "xxx"


def test_one_whose_settings_fail_keeps_its_reason_and_the_others_are_made_in_the_same_process(job):
    said, status = job("from loragrid.errors import UserError; raise UserError('the rate is too high')")
    assert status == 0, said
    assert job.ends() == {2: ["finished"], 4: ["failed"], 8: ["finished"]}
    assert len(job.workers()) == 1


def test_told_to_end_it_starts_no_other_and_goes_back_into_the_queue_for_what_is_done(job):
    again = job.folder / "again"
    process = job.start("os.kill(os.getppid(), 15); time.sleep(5)", **{slurm.RESUBMITS: str(again)})
    said, _ = process.communicate()
    assert process.returncode == 1, said
    assert job.ends() == {2: ["finished"], 4: ["terminated"], 8: []}
    assert again.exists()  # nothing of the second is there, but the first is finished
    for others in (True, False):
        again.unlink(missing_ok=True)
        process = job.start("os.kill(os.getppid(), 15); time.sleep(5)", **{slurm.RESUBMITS: str(again)})
        said, _ = process.communicate()
        assert process.returncode == 1, said
        # What was tried in vain comes last. Once nothing is gained, a job that is told so early would go on for ever.
        assert again.exists() == others
        assert job.ends()[8] == ["finished"]
    assert job()[1] == 0
    assert job.ends()[2] == ["finished"]


def test_what_another_process_works_on_is_waited_for_after_everything_else(job):
    halted = job.start("os.kill(os.getpid(), 19)")  # in the middle of the second
    deadline = time.monotonic() + 120
    while job.ends()[4] != [None]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while not (job.folder / "r2/run.json").exists():  # the first is published while the second is worked on
        assert time.monotonic() < deadline
        time.sleep(0.05)
    other = write_batch(
        job.folder / "other.json",
        train_member(job.folder / "r4", rank=4, max_steps=2, evaluations=1),
        train_member(job.folder / "r16", rank=16, max_steps=2, evaluations=1),
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "loragrid", "train", str(other)]
    said = job.folder / "said"
    with said.open("w") as output:
        second = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    while "r4: waits for process" not in said.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (job.folder / "r16/work/run.json").exists()
    worker = read_attempts(job.folder / "r4/work")[0]["pid"]
    os.kill(worker, signal.SIGCONT)
    assert halted.wait() == 0
    assert second.wait() == 0, said.read_text()
    assert job.ends() == {2: ["finished"], 4: ["finished"], 8: ["finished"]}


def test_a_folder_that_somebody_deletes_takes_no_other_with_it(job):
    said, status = job("import shutil; shutil.rmtree(os.path.dirname(member.work)); raise FileNotFoundError")
    assert status == 1, said
    assert job.ends()[2] == job.ends()[8] == ["finished"]
    assert job()[1] == 0
    assert job.ends()[4] == ["finished"]


def test_a_node_that_is_no_good_is_no_fault_of_the_run(job):
    bad = "from loragrid.errors import NodeError; raise NodeError('this job was given GPU 0')"
    for _ in range(4):
        assert job(bad)[1] == 1
    assert not (job.folder / "r4/work/failed.json").exists()
    assert job()[1] == 0
