"""A storm: for four minutes everything that happens on a cluster happens at random, then the study is left to finish.

Alone on the tests' daemons (`make test-storm`), because it kills them. With both profiles at once: a whole small study
under each, in a folder of its own. The faults follow from a seed that is printed; STORM_SEED repeats them, as far as
processes are as fast as they were.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field

import psutil
import pytest
from head import Head, jobs, take_node

pytestmark = pytest.mark.storm

SECONDS = 240
PAUSE = (5, 14)
"""Seconds between two faults: the least and the most."""

JOBS = ("4", "2", "6")
"""Jobs at a time: of the first start, and of those after one has ended early."""

PATIENCE = 900
"""Seconds for the rest of the study."""

# Everything takes so long that faults meet it at work, also what takes a moment otherwise.
SLOW = """
import sys, time
if "worker" in sys.orig_argv and "train" in sys.orig_argv:
    import loragrid.training.sft as sft
    step = sft.SupervisedTrainer.training_step
    def training_step(self, *inputs):
        time.sleep(6)
        return step(self, *inputs)
    sft.SupervisedTrainer.training_step = training_step
elif "worker" in sys.orig_argv:
    import loragrid.generation.backends.transformers as answer
    import loragrid.modeling.at_a_time as at_a_time
    at_a_time.CPU_ROOM = 0  # batches of a few
    generate = answer.generate
    def slow(*arguments):
        time.sleep(8)
        return generate(*arguments)
    answer.generate = slow
elif {"clean", "contamination", "format", "prompts", "score"} & set(sys.orig_argv):
    import loragrid.commands as commands
    import loragrid.study.batches as batches
    def slowed(read):
        def slow(*arguments):
            time.sleep(6)
            return read(*arguments)
        return slow
    commands.open_study, batches.open_batch = slowed(commands.open_study), slowed(batches.open_batch)
"""


@dataclass
class Fault:
    """Something that went wrong.

    Args:
        at: seconds since the beginning of the storm.
        what: for people.
        jobs: the jobs that it may have hit, by id.
    """

    at: float
    what: str
    jobs: set[str]


@dataclass
class Storm:
    """Faults at random, over the workflows of some heads.

    Args:
        heads: them.
        cluster: the tests' Slurm.
        draw: random numbers.
        most: members of the largest job there ever was, by profile; a new start deletes what it groups anew.
    """

    heads: list[Head]
    cluster: object
    draw: random.Random
    faults: list[Fault] = field(default_factory=list)
    most: dict[str, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def blow(self):
        """Let it blow for as long as it is meant to."""
        kinds = [self.requeue, self.preempt, self.terminate, self.kill, self.lose_slurmd, self.lose_slurmctld,
                 self.kill_head]  # fmt: skip
        deck = []
        while time.monotonic() - self.began < SECONDS:
            pause = self.draw.uniform(*PAUSE)
            number = self.draw.randrange(1000)
            if not deck:  # each of them before one comes again
                deck = self.draw.sample(kinds, len(kinds))
            self.tend(pause)
            # The first of them that finds something to hit.
            for kind in list(deck):
                if fault := kind(number):
                    deck.remove(kind)
                    break
            if fault:
                fault.at = round(time.monotonic() - self.began, 1)
                self.faults.append(fault)
                print(f"{fault.at:6.1f} s  {fault.what}", flush=True)

    def tend(self, seconds):
        """Watch over the heads for a while, as their user does: one that ended with work left is started again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for head in self.heads:
                start_again(head)
                self.count_members(head)
            time.sleep(0.5)

    def count_members(self, head):
        for file in head.workspace.folder.glob("results/batches/*.json"):
            with contextlib.suppress(FileNotFoundError):  # a new start has just deleted it
                members = len(head.workspace.json(file)["members"])
                self.most[head.profile] = max(members, self.most.get(head.profile, 0))

    def requeue(self, number):
        if job := chosen(self.running(), number):
            subprocess.run(["scontrol", "requeue", job], check=False, capture_output=True)
            return Fault(0, f"requeue of job {job}", {job})

    def preempt(self, number):
        if (job := chosen(self.running(), number)) and (node := where(job)):
            hit = {other for other in self.running() if where(other) == node}
            take_node(node)
            return Fault(0, f"preemption on {node}: {', '.join(sorted(hit))}", hit | {job})

    def terminate(self, number):
        return self.signal(number, signal.SIGTERM)

    def kill(self, number):
        return self.signal(number, signal.SIGKILL)

    def signal(self, number, sent):
        if process := chosen(self.processes(), number):
            try:
                job, words = process.environ().get("SLURM_JOB_ID"), " ".join(process.cmdline()[1:5])
                process.send_signal(sent)
            except psutil.Error:
                return None  # it has just ended
            return Fault(0, f"{sent.name} to {words} of job {job}", {job})

    def lose_slurmd(self, number):
        if (job := chosen(self.running(), number)) and (node := where(job)):
            hit = {other for other in self.running() if where(other) == node}
            self.cluster.kill_slurmd(node)
            self.tend(2 + number % 6)
            self.cluster.start_node(node)
            return Fault(0, f"slurmd of {node} killed and started: {', '.join(sorted(hit))}", hit | {job})

    def lose_slurmctld(self, number):
        self.cluster.stop_controller()
        time.sleep(2 + number % 6)  # nobody can start a workflow now
        self.cluster.start_controller()
        return Fault(0, "slurmctld ended and started", set())

    def kill_head(self, number):
        head = chosen([head for head in self.heads if head.process.poll() is None], number)
        if head:
            os.killpg(head.process.pid, signal.SIGKILL)
            head.process.wait()
            return Fault(0, f"head of {head.profile} killed", set())

    def running(self):
        """Ids of the jobs that run."""
        found = [job for head in self.heads for job in jobs(head.workspace.folder)]
        return sorted(job["id"] for job in found if job["state"] == "RUNNING")

    def processes(self):
        """Processes of the stages in jobs, and of what they have started."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = any(process.cwd() == str(head.workspace.folder) for head in self.heads)
                if ours and "loragrid" in process.cmdline() and process.environ().get("SLURM_JOB_ID"):
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(found, key=lambda process: process.pid)


def chosen(things, number):
    """One of some things, if there are any."""
    return things[number % len(things)] if things else None


def where(job):
    """The node of a job; empty if it has just ended."""
    said = subprocess.run(["squeue", "-h", "-j", job, "-o", "%N"], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def start_again(head):
    """Start a head that has ended before its work was done, with another number of jobs at a time."""
    if head.process.poll() is None or head.process.returncode == 0:
        return
    # cluster/slurm cannot take over the jobs of a head that was killed: one waits until they have ended.
    if head.profile == "cluster/slurm" and jobs(head.workspace.folder):
        return
    head.workspace.snakemake("--unlock", study=head.study)
    head.options = ("--jobs", JOBS[(JOBS.index(head.options[1]) + 1) % len(JOBS)])
    head.start(until=None)


@pytest.fixture
def heads(slurm, fresh, finished_once, tmp_path):
    """A head for each profile, not started yet; what they leave is gone after the test."""
    made = []
    for profile in ("cluster/slurm", "cluster/submitit"):
        place = fresh.copy_to(tmp_path / profile.replace("/", "-"))
        (place.folder / "src/sitecustomize.py").write_text(SLOW)
        made.append(Head(place, None, study="nano", profile=profile, options=("--jobs", JOBS[0])))
        made[-1].checkpoint_every(seconds=5)
    yield made
    for head in made:
        head.end()


def test_storm(heads, slurm, finished_once):
    seed = int(os.environ.get("STORM_SEED") or random.SystemRandom().randrange(10**6))
    print(f"\nSTORM_SEED={seed}", flush=True)
    assert not slurm.is_busy(), "others use the tests' Slurm"
    for head in heads:
        head.start(until=None)
    storm = Storm(heads, slurm, random.Random(seed))
    storm.blow()
    print(f"the storm is over after {len(storm.faults)} faults", flush=True)
    deadline = time.monotonic() + PATIENCE
    while any(head.process.poll() != 0 for head in heads):
        assert time.monotonic() < deadline, "".join(head.all_said() for head in heads)
        storm.tend(1)
    for head in heads:
        folder = head.workspace.folder
        ours, theirs = (place / "results/studies/nano/comparison.csv" for place in (folder, finished_once.folder))
        assert ours.read_bytes() == theirs.read_bytes(), head.profile
        assert storm.most[head.profile] > 1, f"{head.profile}: no job of several members"
        for file in folder.glob("results/**/attempts.jsonl"):
            begun, ids = attempts_in(head.workspace, file)
            hits = [fault.what for fault in storm.faults if fault.jobs & ids]
            assert begun <= 1 + len(hits), f"{file}: {begun} attempts, but hit by no more than {hits}"


def attempts_in(workspace, file):
    """How many attempts are on record, and the jobs that made them."""
    records = [line for line in workspace.json_lines(file) if "started" in line]
    return len(records), {line["job"] for line in records}
