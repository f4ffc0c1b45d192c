"""cluster/submitit's executor on a real Slurm: what becomes of a training in each fault, with a stand-in for it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from head import PATIENCE, node_of

pytestmark = pytest.mark.usefixtures("slurm")

SNAKEFILE = """
rule all:
    input: expand("{name}.done", name=config["names"].split())

rule train:
    output: touch("{name}.done")
    log: "{name}.log"
    resources: gpu=1
    shell: "PYTHONPATH=standin python -m loragrid {wildcards.name} {config[steps]} >> {log} 2>&1"
"""

# Takes the place of a training: it saves only when told to, as the real one does at once, and that takes a while.
TRAINING = """
import json, os, pathlib, signal, sys, time

name, steps = sys.argv[1], int(sys.argv[2])
saved, finished = pathlib.Path(f"{name}.saved"), pathlib.Path(f"{name}.finished")
if finished.exists():
    sys.exit()  # told to end between its end and its job's, and started again
step = int(saved.read_text()) if saved.exists() else 0
signals = []
signal.signal(signal.SIGTERM, lambda *_: signals.append(True))


def say(event):
    record = {"event": event, "step": step, "job": os.environ["SLURM_JOB_ID"], "pid": os.getpid(),
              "gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with open(f"{name}.events", "a") as file:
        file.write(json.dumps(record) + "\\n")


say("begins")
held = pathlib.Path(f"{name}.held")
while step < steps or held.exists():
    time.sleep(0.5)
    step += 1
    if signals:
        time.sleep(2)
        saved.write_text(str(step))
        if "idle" not in name:
            pathlib.Path(os.environ["LORAGRID_RESUBMITS"]).touch()
        say("saved")
        sys.exit(75)
finished.touch()
say("finished")
"""


class Workflow:
    """A small workflow in a folder of its own, whose jobs only this test can have submitted."""

    def __init__(self, folder: Path, node: str):
        self.folder = folder
        self.node = node
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "standin/loragrid").mkdir(parents=True)
        (folder / "standin/loragrid/__init__.py").touch()
        (folder / "standin/loragrid/__main__.py").write_text(TRAINING)
        self.names = f"t{os.getpid()}x{time.monotonic_ns() % 10**6}"
        self.head: subprocess.Popen | None = None

    def start(
        self, *arguments: str, steps: int = 60, partition: str = "gpu", names: str = "", runtime: int = 30
    ) -> None:
        """Start Snakemake and leave it running."""
        self.names = names or self.names
        command = [
            sys.executable, "-m", "snakemake", "--executor", "submitit", "--submitit-cluster", "slurm", "--jobs", "4",
            "--rerun-incomplete", "--latency-wait", "5", "--submitit-signal-seconds", "30",
            "--default-resources", f"runtime={runtime}", "mem_mb=300", f"slurm_partition={partition}", "gpu_model=t4",
            f"constraint={self.node}",
            *arguments, "--config", f"names={self.names}", f"steps={steps}",
        ]  # fmt: skip
        with (self.folder / "head.log").open("a") as log:
            self.head = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)

    def hold(self, names: str = "") -> None:
        """Let trainings run on, whatever their steps, until they are released: however long a busy Slurm takes."""
        for name in (names or self.names).split():
            (self.folder / f"{name}.held").touch()

    def release(self) -> None:
        for held in self.folder.glob("*.held"):
            held.unlink()

    def unlock(self) -> None:
        """As Snakemake tells its user to after it was killed."""
        command = [sys.executable, "-m", "snakemake", "--unlock", "--config", f"names={self.names}", "steps=0"]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    def ends(self, status: int = 0) -> str:
        """Wait for Snakemake to end, and return what it said."""
        assert self.head
        self.wait_for(lambda: self.head.poll() is not None, "Snakemake ends")
        said = self.said()
        assert self.head.returncode == status, said + self.logs()
        return said

    def said(self) -> str:
        return (self.folder / "head.log").read_text()

    def logs(self) -> str:
        logs = self.folder.glob(".snakemake/submitit/*/*_log.out")
        return "".join(f"\n--- {log}\n{log.read_text()[-3000:]}" for log in logs)

    def events(self, name: str = "") -> list[dict]:
        file = self.folder / f"{name or self.names}.events"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_for(self, there, what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not there():
            assert time.monotonic() < deadline, f"{what}\n{self.said()}{self.logs()}\n{self.queue()}"
            time.sleep(0.5)

    def has_saved(self) -> bool:
        return any(event["event"] == "saved" for event in self.events())

    def begins(self, times: int = 1, name: str = "") -> dict:
        """Wait until a training has begun so many times, and return how it did last."""
        begun = lambda: [event for event in self.events(name) if event["event"] == "begins"]  # noqa: E731
        self.wait_for(lambda: len(begun()) >= times, f"begins {times} times")
        time.sleep(2)  # some steps
        return begun()[-1]

    def queue(self) -> list[str]:
        """This workflow's jobs that are waiting or running."""
        done = subprocess.run(["squeue", "-h", "-o", "%i %j %T %r"], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if any(name in line for name in self.names.split())]


@pytest.fixture
def workflow(tmp_path, node):
    workflow = Workflow(tmp_path, node)
    yield workflow
    if workflow.head and workflow.head.poll() is None:
        workflow.head.kill()
        workflow.head.wait()
    if ids := [line.split()[0] for line in workflow.queue()]:
        subprocess.run(["scancel", *ids], check=False)


@contextlib.contextmanager
def urgent_job(node: str):
    """A job that takes a whole node away from the jobs of the preemptible partitions."""
    command = ["sbatch", "--parsable", "-p", "urgent", "-w", node, "--exclusive", "-t", "5", "-o", "/dev/null"]
    done = subprocess.run([*command, "--wrap", "sleep 300"], capture_output=True, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run(["scancel", done.stdout.strip()], check=True)


def assert_continued(workflow: Workflow, jobs: int = 1) -> None:
    """It was told to end at least once, and went on from where it was, in the same job if that was possible."""
    events = workflow.events()
    kinds = [event["event"] for event in events]
    assert len(kinds) >= 4, workflow.logs()
    assert kinds == ["begins", "saved"] * (len(kinds) // 2 - 1) + ["begins", "finished"], workflow.logs()
    for saved, begins in zip(events[1:-1:2], events[2::2], strict=True):
        assert begins["step"] == saved["step"] > 0
    assert len({event["job"] for event in events}) == jobs
    assert all(event["gpus"] in ("0", "1") for event in events)


def test_time_limit(workflow):
    workflow.start(steps=90, runtime=1)
    workflow.ends()
    assert_continued(workflow)
    assert not list(workflow.folder.glob(".snakemake/submitit/*/*.pkl"))


@pytest.mark.parametrize("partition", ["gpu", "cancelling", "abrupt", "abrupt-cancelling"])
def test_preemption(workflow, partition):
    workflow.hold()
    workflow.start(steps=40, partition=partition)
    began = workflow.begins()
    with urgent_job(node_of(began["job"])):
        workflow.wait_for(workflow.has_saved, "saved")
        time.sleep(5)
    workflow.release()
    said = workflow.ends()
    # Slurm forgets a job that it cancels without a grace; it is submitted again, and has not failed.
    assert_continued(workflow, jobs=2 if partition == "abrupt-cancelling" else 1)
    assert "Error in rule" not in said


@pytest.mark.parametrize("sent", ["TERM", "USR2"])
def test_preemption_by_signal(workflow, sent):
    """USR2 as with `preempt_send_user_signal`; TERM as without: the job still runs, so it was not cancelled."""
    workflow.hold()
    workflow.start(steps=40)
    subprocess.run(["scancel", f"--signal={sent}", workflow.begins()["job"]], check=True)
    workflow.wait_for(workflow.has_saved, "saved")
    workflow.release()
    workflow.ends()
    assert_continued(workflow)


def test_no_progress_is_not_continued_for_ever(workflow):
    workflow.start(names=f"{workflow.names}idle", steps=1000)
    for times in range(1, 5):
        job = workflow.begins(times)["job"]
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
    said = workflow.ends(status=1)
    assert [event["event"] for event in workflow.events()] == ["begins", "saved"] * 4
    assert "does it need a longer limit?" in workflow.logs(), said


def test_killed_training_is_tried_again(workflow):
    workflow.hold()
    workflow.start("--retries", "1", steps=12)
    os.kill(workflow.begins()["pid"], signal.SIGKILL)
    workflow.release()
    said = workflow.ends()
    assert "ended with status" in said
    first, second = [event["job"] for event in workflow.events() if event["event"] == "begins"]
    assert first != second
    assert re.search(rf"\.snakemake/submitit/{first}/\S*log", said)


def test_job_ended_by_somebody_is_tried_again(workflow):
    workflow.hold()
    workflow.start("--retries", "1", steps=30)
    subprocess.run(["scancel", workflow.begins()["job"]], check=True)
    workflow.wait_for(workflow.has_saved, "saved")
    workflow.release()
    said = workflow.ends()
    assert [event["event"] for event in workflow.events()] == ["begins", "saved", "begins", "finished"]
    assert "Error in rule train" in said


def test_interrupt_ends_all_jobs_and_a_new_start_continues(workflow):
    names = f"{workflow.names}a {workflow.names}b"
    workflow.hold(names)
    workflow.start(names=names, steps=40)
    for name in names.split():
        workflow.begins(name=name)
    workflow.head.send_signal(signal.SIGINT)
    workflow.wait_for(lambda: not workflow.queue(), "jobs are gone from the queue")
    workflow.release()
    workflow.ends(status=1)
    workflow.start(names=names, steps=40)
    workflow.ends()
    for name in names.split():
        assert [event["event"] for event in workflow.events(name)] == ["begins", "saved", "begins", "finished"]


def test_new_start_after_the_head_was_killed(workflow):
    runs, ends = f"{workflow.names}a", f"{workflow.names}b"
    workflow.hold(runs)
    (workflow.folder / f"{ends}.saved").write_text("38")
    workflow.start(names=f"{runs} {ends}", steps=40)
    for name in (runs, ends):
        workflow.begins(name=name)
    workflow.head.kill()
    workflow.head.wait()
    workflow.wait_for((workflow.folder / f"{ends}.done").exists, "one finishes meanwhile")
    workflow.unlock()
    workflow.start(names=f"{runs} {ends}", steps=40)
    workflow.wait_for(lambda: "it is not submitted again" in workflow.said(), "the job is found again")
    workflow.release()
    said = workflow.ends()
    for name in (runs, ends):
        assert [event["event"] for event in workflow.events(name)] == ["begins", "finished"], said
