"""Runs survive what happens on a cluster: on a real Slurm, through the workflow, with one process and with two.

What does not depend on how a job goes on is tested with both profiles; for what does, with cluster/submitit, see
test_faults_submitit.py.
"""

import csv
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from head import lose_node, node_of, records, run_folder, take_node, wait_until
from injected import out_of_memory
from interrupted import LIMIT, PACE, beyond_limit, equal_weights

from loragrid.generation.records import answers_sha256

# Slurm's signal before the end, a precaution for jobs of hours, would come at once.
SHORT = {"runtime": LIMIT, "slurm_extra": ""}

one_process = pytest.mark.parametrize("prepared", [1], indirect=True, ids=["one process"])


def each_once(first, second):
    """Both profiles, and one process and two: the first profile with one process, the other one with two."""
    return pytest.mark.parametrize(
        ("prepared", "profile"), [(1, first), (2, second)], indirect=["prepared"],
        ids=[f"one process-{first}", f"two processes-{second}"],
    )  # fmt: skip


@pytest.fixture
def profile():
    """With which the workflow is started, unless a test says otherwise."""
    return "cluster/slurm"


@pytest.fixture
def head(prepared, start, tmp_path, profile):
    """The workflow in a workspace of its own, not started yet."""
    ready, _, options = prepared
    return start(ready.copy_to(tmp_path / "workspace"), profile=profile, options=options)


def test_preemption_requeueing_by_hand_and_the_time_limit(head, equal_to_whole):
    head.edit_profile(default_resources=SHORT)
    beyond_limit(head)
    head.start()
    first = head.train_until(5)
    assert sorted(first["gpus"].split(",")) in (["0"], ["1"], ["0", "1"])
    assert f"train:gpu={len(first['gpus'].split(','))}" in head.options  # as many as were asked for
    take_node(node_of(first["job"]))
    head.ended(1)
    second = head.train_until(head.steps() + 5)
    subprocess.run(["scontrol", "requeue", second["job"]], check=True)
    assert head.finish() == 0, head.all_said()
    ends = head.ends()
    assert ends[:2] == ["terminated", "terminated"], head.all_said()
    assert set(ends[2:-1]) == {"stopped"}, head.all_said()
    assert ends[-1] == "finished", head.all_said()
    # The same job all the time: Snakemake has seen one attempt of its own.
    assert {attempt["job"] for attempt in head.attempts()} == {first["job"]}
    assert "Trying to restart" not in head.output.read_text()
    equal_to_whole(head.run)


@one_process
def test_time_limit_that_slurm_tells_of_before_the_clock_does(head, equal_to_whole):
    # As in the profile; Slurm may send it up to a minute early.
    head.edit_profile(default_resources={"runtime": 3})
    (head.workspace.folder / "src/sitecustomize.py").write_text(PACE.replace("0.12", "0.34"))
    head.start()
    assert head.finish() == 0, head.all_said()
    assert head.ends()[0] == "terminated", head.all_said()
    assert head.ends()[-1] == "finished", head.all_said()
    assert len({attempt["job"] for attempt in head.attempts()}) == 1
    equal_to_whole(head.run)


@one_process
def test_time_limit_where_requeueing_is_forbidden(head, equal_to_whole):
    head.edit_profile(without=["slurm-requeue"], **{"slurm-no-requeue": True, "retries": 9}, default_resources=SHORT)
    beyond_limit(head)
    head.start()
    assert head.finish() == 0, head.all_said()
    assert head.ends()[-1] == "finished", head.all_said()
    assert set(head.ends()[:-1]) == {"stopped"}
    assert len({attempt["job"] for attempt in head.attempts()}) == len(head.ends()) > 1
    equal_to_whole(head.run)


@each_once("cluster/submitit", "cluster/slurm")
def test_a_node_that_fails_a_killed_process_and_a_damaged_checkpoint(head, slurm, equal_to_whole):
    head.checkpoint_every(seconds=2)
    head.start()
    lose_node(slurm, head.train_until(20)["job"])
    second = head.train_until(40)
    wait_until(lambda: len(saved(head.run)) > 1, what=head.all_said)
    os.kill(second["pid"], signal.SIGKILL)
    head.ended(2)
    before, newest = saved(head.run)[-2:]
    damage(newest)
    # Another job, since this one has failed; it is submitted although a node has failed before it.
    third = head.train_until(80)
    log = Path(head.workspace.folder, third["log"]).read_text()
    assert f"checkpoint not usable: {newest.relative_to(head.workspace.folder)}" in log
    assert f"training from step {int(before.name.removeprefix('step-'))} " in log
    assert head.finish() == 0, head.all_said()
    assert head.ends() == ["killed", "killed", "finished"], head.all_said()
    # Of two processes, the launcher ends the other one as well, if that does not see it first.
    why = head.attempts()[1]["why"]
    assert any(word in why for word in ("SIGKILL", "status", "another of its processes")), why
    equal_to_whole(head.run)


ANSWERS = "results/runs/*/*/r2-a4-*/eval/*"

# Answers that a test interrupts take their time, in batches of a few.
SLOW_ANSWERS = """
import sys
if "worker" in sys.orig_argv and "generate" in sys.orig_argv:
    import time
    import loragrid.generation.backends.transformers as answer
    import loragrid.modeling.at_a_time as at_a_time
    at_a_time.CPU_ROOM = 0
    generate = answer.generate
    def slow(*arguments):
        time.sleep(4)
        return generate(*arguments)
    answer.generate = slow
"""


def test_answers_go_on_after_preemption_where_they_were(start, with_data, finished_once, node):
    place = with_data
    models = place.yaml("config/studies/nano.yaml")["models"]
    models["nano"]["micro_batch"] = 2  # which changes no answer
    place.study("answers", models=models)
    # The training is there; its answers are asked for anew.
    (theirs,) = finished_once.folder.glob(f"{ANSWERS}/generations.jsonl")
    run = theirs.parents[2].relative_to(finished_once.folder)
    shutil.copytree(finished_once.folder / run, place.folder / run, ignore=shutil.ignore_patterns("eval", "work"))
    (place.folder / "src/sitecustomize.py").write_text(SLOW_ANSWERS)
    head = start(place, study="answers", options=("--jobs", "4"))
    ours = place.folder / theirs.relative_to(finished_once.folder)
    head.start(str(theirs.relative_to(finished_once.folder)), until=None)
    (part,) = wait_until(
        lambda: [file for file in place.folder.glob(f"{ANSWERS}/work/generations.part.jsonl") if file.stat().st_size],
        what=head.all_said,
    )
    kept = len(part.read_bytes().splitlines())
    take_node(node)
    assert head.finish() == 0, head.all_said()
    attempts = place.json_lines(part.with_name("attempts.jsonl"))
    assert [line["ended"] for line in attempts if "ended" in line] == ["terminated", "finished"], head.all_said()
    assert answers_sha256(ours) == answers_sha256(theirs)
    first = re.search(r"^answered (\d+)", part.with_name("attempt-2.log").read_text(), re.M)
    assert int(first[1]) > kept, "answered again what had been answered"


@each_once("cluster/slurm", "cluster/submitit")
def test_injected_out_of_memory_halves_the_micro_batch_in_the_same_job(head):
    place = head.workspace
    study = place.yaml("config/studies/slow.yaml")
    study["recipe"]["max_steps"] = 8
    study["models"]["nano"]["micro_batch"] = 1
    place.study("slow", **study)
    by_hand = place.copy_to(place.folder.with_name("by hand"))
    by_hand.snakemake("--until", "publish_run", *head.options, study="slow")
    study["models"]["nano"]["micro_batch"] = 2
    place.study("slow", **study)
    (place.folder / "src/sitecustomize.py").write_text(out_of_memory(rows=1))
    head.start()
    assert head.finish() == 0, head.all_said()
    assert head.ends() == ["out of memory", "finished"], head.all_said()
    assert len({attempt["job"] for attempt in head.attempts()}) == 1
    record = place.json(head.run / "run.json")
    assert (record["micro_batch"], record["out_of_memory"]) == (1, 1)
    equal_weights(head.run, run_folder(by_hand))
    assert records(head.run) == records(run_folder(by_hand))
    place.snakemake("tables", study="slow")
    with (place.folder / "results/studies/slow/cost.csv").open(newline="") as file:
        (cost,) = csv.DictReader(file)
    assert (cost["micro_batch"], cost["out_of_memory"]) == ("1", "1")


def saved(run):
    """Folders of the whole checkpoints, oldest first."""
    return sorted((run / "work/checkpoints").glob("step-*[0-9]"))


def damage(checkpoint):
    """As a disk may: one byte of the weights is another."""
    file = max(checkpoint.glob("*.safetensors"), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
