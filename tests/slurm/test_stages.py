"""Jobs without checkpoints (build, clean, format, prompts, score …) on a real Slurm begin anew, and fail for nothing.

While they do, a whole study runs under each profile, to the same table as without a cluster.
"""

import re
import subprocess
import time

import pytest
from gpus import TELL, with_gpus
from head import accounted, is_running, node_of, take_node, wait_until

PROFILES = pytest.mark.parametrize("profile", ["cluster/slurm", "cluster/submitit"])

RULES = ("build_model", "clean", "contamination", "format", "prompts", "score")

WITH_ENCODER = {"encode", "score_by_encoder"}
"""Stages of the same kind that the nano study does not have, since it would have to download an encoder."""

# The stage takes its time, at a point where it listens.
SLOW = """
import sys
if {"clean", "contamination", "format", "prompts", "build", "score"} & set(sys.orig_argv):
    import time
    import loragrid.commands as commands
    import loragrid.study.batches as batches
    def slowed(read):
        def slow(*arguments):
            time.sleep(SECONDS)
            return read(*arguments)
        return slow
    commands.open_study, batches.open_batch = slowed(commands.open_study), slowed(batches.open_batch)
"""

FIRST_ATTEMPT = """
            try:
                open("first-attempt", "x").close()
            except FileExistsError:
                return read(*arguments)
            time.sleep(150)
"""


@pytest.fixture
def place(fresh):
    """The nano study with one run, as after a clone."""
    fresh.study("short", grid={}, untrained=[])
    return fresh


@PROFILES
def test_preempted_and_requeued_they_use_up_no_attempt(start, fresh, finished_once, profile):
    """The whole nano study, whose table is the same as without a cluster."""
    place = fresh
    (place.folder / "src/sitecustomize.py").write_text(SLOW.replace("SECONDS", "10") + TELL)
    head = start(place, study="nano", profile=profile, options=("--retries", "0", "--jobs", "4"), is_patient=True)
    # Without any more attempts of Snakemake's; each rule has some of its own.
    without_retries(place)
    head.start(until=None)
    attempts = {rule: place.folder / "results/logs" / rule for rule in RULES}
    # The first of them has to make room, and is told to; then each of them is put back into the queue by hand.
    wait_until(lambda: begun(place, attempts["clean"]) == 1, what=head.all_said)
    take_node(node_of(records(place, attempts["clean"])[0]["job"]))
    wait_until(lambda: ends(place, attempts["clean"]) == ["terminated"], what=head.all_said)
    requeued = set()
    while head.process.poll() is None:
        for rule, folder in attempts.items():
            for job in {line["job"] for line in records(place, folder) if "started" in line} - requeued:
                if is_running(job) and (rule != "clean" or begun(place, folder) == 2):
                    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, check=False)
                    requeued |= {job} if done.returncode == 0 else set()
        time.sleep(0.5)
    assert head.finish() == 0, head.all_said()
    for rule, folder in attempts.items():
        jobs = {job["JobID"] for job in accounted(place.folder) if job["rule"] == rule}
        assert jobs <= requeued, rule
        assert {line["job"] for line in records(place, folder) if "started" in line} == jobs != set()
        assert begun(place, folder) == (3 if rule == "clean" else 2 * len(jobs)), rule
        assert ends(place, folder).count("finished") == len(jobs), rule
    assert "Trying to restart" not in head.output.read_text()
    ours, theirs = (at.folder / "results/studies/nano/comparison.csv" for at in (place, finished_once))
    assert ours.read_bytes() == theirs.read_bytes()
    # GPUs for trainings and answers, none for these stages; downloads, publishing and tables are no jobs at all.
    gpus = {job["rule"]: "gres/gpu=1" in job["AllocTRES"] for job in accounted(place.folder)}
    assert gpus == dict.fromkeys(RULES, False) | {"train": True, "generate": True}
    with_gpus(head, ("train", "generate"))
    # Where they are on record is where requests look how much more to ask for.
    rules = "".join(file.read_text() for file in (place.folder / "workflow/rules").glob("*.smk"))
    looked_at = dict(re.findall(r'attempts_of\("(\w+)", "(.+?)"\)', rules))
    assert looked_at.keys() == attempts.keys() | WITH_ENCODER
    for rule, folder in attempts.items():
        for file in folder.rglob("attempts.jsonl"):
            expected = re.sub(r"\{\w+\}", ".+", looked_at[rule])
            assert re.fullmatch(expected, str(file.parent.relative_to(folder))), file


@pytest.mark.parametrize(
    ("profile", "is_told"), [("cluster/slurm", True), ("cluster/slurm", False), ("cluster/submitit", True)]
)
def test_at_its_time_limit_the_next_attempt_asks_for_more(start, place, profile, is_told):
    # Only the first attempt takes longer than its limit, so that the second one is nowhere near its own.
    (place.folder / "src/sitecustomize.py").write_text(SLOW.replace("time.sleep(SECONDS)", FIRST_ATTEMPT))
    # Slurm looks every half a minute, and tells up to a minute and a half before the end: that shall not be at once.
    first = 2 if is_told else 1
    rules = place.folder / "workflow/rules/data.smk"
    rules.write_text(rules.read_text().replace('"clean", "{dataset}"), 60)', f'"clean", "{{dataset}}"), {first})'))
    head = start(place, study="short", profile=profile)
    if not is_told:
        head.edit_profile(default_resources={"slurm_extra": ""})
    head.start(until="clean")
    assert head.finish() == 0, head.all_said()
    attempts = ends(place, place.folder / "results/logs/clean")
    assert attempts == ["out of time", "finished"]
    ids = [job["JobID"] for job in accounted(place.folder) if job["rule"] == "clean"]
    assert [minutes_of(job) for job in sorted(ids, key=int)] == [first, 2 * first]


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
