"""Jobs without checkpoints (clean, format, prompts, score) on a real Slurm: they begin anew, and fail for nothing."""

import subprocess

import pytest
from head import accounted, node_of, take_node, wait_until

PROFILES = pytest.mark.parametrize("profile", ["cluster/slurm", "cluster/submitit"])

# The stage takes its time, at a point where it listens.
SLOW = """
import sys
if {"clean", "format", "prompts", "build", "score"} & set(sys.orig_argv):
    import time
    import loragrid.cli as cli
    open_study = cli.open_study
    def slow(*arguments):
        time.sleep(SECONDS)
        return open_study(*arguments)
    cli.open_study = slow
"""


@pytest.fixture
def place(fresh):
    """The nano study with one run, as after a clone."""
    fresh.study("short", grid={}, untrained=[])
    return fresh


@pytest.fixture
def slow(place):
    """Let each stage without checkpoints take so many seconds longer."""

    def slow(seconds):
        (place.folder / "src/sitecustomize.py").write_text(SLOW.replace("SECONDS", str(seconds)))

    return slow


@PROFILES
def test_preempted_and_requeued_they_use_up_no_attempt(start, place, slow, profile):
    slow(15)
    head = start(place, study="short", profile=profile, options=("--retries", "0"))
    # Without any more attempts of Snakemake's; each rule has some of its own.
    without_retries(place)
    head.start(until="prompts")
    attempts = place.folder / "results/logs/clean"
    wait_until(lambda: begun(place, attempts) == 1, what=head.all_said)
    first = records(place, attempts)[0]["job"]
    take_node(node_of(first))
    wait_until(lambda: ends(place, attempts) == ["terminated"], what=head.all_said)
    wait_until(lambda: begun(place, attempts) == 2, what=head.all_said)
    subprocess.run(["scontrol", "requeue", first], check=True)
    assert head.finish() == 0, head.all_said()
    assert begun(place, attempts) == 3
    assert ends(place, attempts)[-1] == "finished"
    assert {job["JobID"] for job in accounted(place.folder) if job["rule"] == "clean"} == {first}
    assert "Trying to restart" not in head.output.read_text()


@pytest.mark.parametrize(
    ("profile", "is_told"), [("cluster/slurm", True), ("cluster/slurm", False), ("cluster/submitit", True)]
)
def test_at_its_time_limit_the_next_attempt_asks_for_more(start, place, slow, profile, is_told):
    slow(25 if is_told else 100)
    rules = place.folder / "workflow/rules/data.smk"
    rules.write_text(rules.read_text().replace('"clean", "{dataset}"), 60)', '"clean", "{dataset}"), 1)'))
    head = start(place, study="short", profile=profile)
    if not is_told:
        head.edit_profile(default_resources={"slurm_extra": ""})
    head.start(until="clean")
    assert head.finish() == 0, head.all_said()
    attempts = ends(place, place.folder / "results/logs/clean")
    assert attempts[-1] == "finished"
    assert set(attempts[:-1]) == {"out of time"}
    ids = [job["JobID"] for job in accounted(place.folder) if job["rule"] == "clean"]
    assert len(ids) == len(attempts)
    limits = [minutes_of(job) for job in sorted(ids, key=int)]
    assert limits == [2**number for number in range(len(ids))]


def without_retries(place):
    """Give no rule another attempt."""
    for file in (place.folder / "workflow/rules").glob("*.smk"):
        file.write_text(file.read_text().replace("retries: RETRIES", "retries: 0"))


def records(place, folder):
    return [line for file in folder.rglob("attempts.jsonl") for line in place.json_lines(file)]


def begun(place, folder):
    """How many attempts have begun."""
    return sum("started" in line for line in records(place, folder))


def ends(place, folder):
    """How the attempts have ended."""
    return [line["ended"] for line in records(place, folder) if "ended" in line]


def minutes_of(job):
    """The time limit of a job that has ended."""
    said = subprocess.run(["sacct", "-X", "-n", "-P", "-j", job, "-o", "TimelimitRaw"], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    return int(said.split()[0])
