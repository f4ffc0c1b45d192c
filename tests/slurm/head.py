"""The head process of a workflow that submits to Slurm, as a person sees it: its output, its jobs, its runs."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from workspace import environment

PATIENCE = 600
"""Seconds after which something is taken to hang: on a busy machine a job may need two minutes to begin."""

IMPATIENT = Path(__file__).with_name("impatient.py")


def jobs(folder):
    """The jobs in the queue that were submitted from a folder."""
    said = subprocess.run(["squeue", "-h", "-o", "%i|%T|%k|%Z"], capture_output=True, text=True, check=True).stdout
    fields = [line.split("|") for line in said.splitlines()]
    return [
        {"id": id_, "state": state, "comment": comment} for id_, state, comment, place in fields if place == str(folder)
    ]


def accounted(folder):
    """What sacct has of the jobs that were submitted from a folder, and the rule of each."""
    fields = ["JobID", "JobName", "Comment", "AllocTRES", "Partition", "State", "WorkDir"]
    said = subprocess.run(
        ["sacct", "-X", "-n", "-P", "-S", "now-1hour", "-o", ",".join(fields)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [dict(zip(fields, line.split("|"), strict=True)) for line in said.splitlines()]
    found = [job for job in lines if job["WorkDir"] == str(folder)]
    for job in found:
        # The Slurm plugin says it in the comment, that of submitit in the name.
        if (comment := job["Comment"]).startswith("rule_"):
            job["rule"] = comment.removeprefix("rule_").split("_wildcards")[0]
        else:
            job["rule"] = job["JobName"].split("-")[1]
    return found


def is_running(job):
    """Whether a job runs, by its id."""
    said = subprocess.run(["squeue", "-h", "-j", job, "-t", "RUNNING"], capture_output=True, text=True, check=False)
    return bool(said.stdout.strip())


def node_of(job):
    """The node that a job runs on."""
    said = subprocess.run(["squeue", "-h", "-j", job, "-o", "%N"], capture_output=True, text=True, check=True)
    return said.stdout.strip()


def lose_node(cluster, job):
    """Let the node of a job lose power, and come back once Slurm has noticed: tests keep their jobs on one node."""
    node = node_of(job)
    cluster.kill_node(node)
    wait_until(lambda: not is_running(job), what=lambda: f"job {job} runs on")
    cluster.start_node(node)


def take_node(node):
    """Submit a job of more priority than others', which needs a whole node for some seconds."""
    command = ["sbatch", "-p", "urgent", "--exclusive", "-w", node, "-o", "/dev/null", "--wrap", "sleep 5"]
    subprocess.run(command, check=True, capture_output=True)


def wait_until(there, *, what=lambda: ""):
    """Wait for something that is sure to come; with what is known if it does not."""
    deadline = time.monotonic() + PATIENCE
    while not (found := there()):
        assert time.monotonic() < deadline, what()
        time.sleep(0.5)
    return found


def records(run):
    """The lines of a run's training.jsonl."""
    return [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]


class Head:
    """The head process of a workflow that submits to Slurm.

    Args:
        workspace: where.
        node: that its jobs run on; None for any.
        study: which.
        profile: with which.
        options: more of Snakemake's.
        is_patient: whether it looks at its jobs as seldom as the profile says.
    """

    def __init__(self, workspace, node, study="slow", profile="cluster/slurm", options=(), is_patient=False):
        self.workspace = workspace
        self.is_patient = is_patient
        self.study = study
        self.profile = profile
        self.options = options
        self.output = workspace.folder / "head.log"
        self.process = None
        if node:
            self.edit_profile(default_resources={"constraint": node})

    def end(self):
        """End it and its jobs, whatever they do."""
        if self.process and self.process.poll() is None:
            self.process.kill()
        for job in jobs(self.workspace.folder):
            subprocess.run(["scancel", job["id"]], check=False)

    def checkpoint_every(self, *, seconds):
        """Set the time between checkpoints in this workspace."""
        config = self.workspace.folder / "config/config.yaml"
        config.write_text(re.sub("(?<=checkpoint_minutes: ).*", str(seconds / 60), config.read_text()))

    def edit_profile(self, *, without=(), default_resources=None, **changes):
        """Edit the profile in this workspace, as its user does."""
        file = self.workspace.folder / self.profile / "profile.yaml"
        content = yaml.safe_load(file.read_text())
        content["default-resources"] |= default_resources or {}
        content = {key: value for key, value in content.items() if key not in without} | changes
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def start(self, *arguments, until="publish_run"):
        command = self.workspace.command(
            *(["--until", until] if until else []), "--profile", self.profile, "--latency-wait", "5", *self.options,
            *arguments, study=self.study, network=True,
        )  # fmt: skip
        if self.profile == "cluster/slurm" and not self.is_patient:
            # The profile's limit of one look in ten seconds is for a controller that others need.
            place = command.index("--profile")
            command[place:place] = ["--max-status-checks-per-second", "1"]
            command[command.index("-m") : command.index("snakemake") + 1] = [str(IMPATIENT)]
        with self.output.open("a") as output:
            self.process = subprocess.Popen(
                command, cwd=self.workspace.folder, env=environment(), stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def finish(self, seconds=1200):
        """Wait for the end; the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(self.all_said())

    @property
    def run(self):
        return run_folder(self.workspace)

    def steps(self):
        file = self.run / "work" / "training.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return max([json.loads(line)["step"] for line in lines if line.endswith("}")], default=0)

    def train_until(self, step):
        """Wait until so many steps are done in an attempt that is under way; its record."""

        def there():
            assert self.process.poll() is None, self.all_said()
            return self.attempts() and "ended" not in self.attempts()[-1] and self.steps() >= step

        wait_until(there, what=self.all_said)
        return self.attempts()[-1]

    def attempts(self):
        if not list(self.workspace.folder.glob("results/batches/train-*.json")):
            return []  # it has not come so far
        file = self.run / "work" / "attempts.jsonl"
        found = {}
        for line in file.read_text().splitlines() if file.exists() else ():
            record = json.loads(line)
            found.setdefault(record["attempt"], {}).update(record)
        return list(found.values())

    def ends(self):
        return [attempt.get("ended") for attempt in self.attempts()]

    def ended(self, number):
        """Wait until so many attempts have ended."""
        wait_until(lambda: len([end for end in self.ends() if end]) >= number, what=self.all_said)

    def all_said(self):
        return self.output.read_text()[-4000:] + str(self.attempts()) + self.workspace.last_logs()


def run_folder(workspace):
    """The folder of the only run of the study that was started last."""
    file = max(workspace.folder.glob("results/batches/train-*.json"), key=lambda file: file.stat().st_mtime)
    (member,) = json.loads(file.read_text())["members"]
    return workspace.folder / member["run"]["folder"]
