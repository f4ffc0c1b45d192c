"""The profile cluster/slurm on a real Slurm: the same tables, GPUs for those who need them, words at the start."""

import os
import signal

import pytest
import yaml
from head import accounted, jobs, wait_until
from interrupted import PACE

# What the processes that train and answer find in their environment.
TELL = """
import sys
if "worker" in sys.orig_argv:
    import json, os
    with open("environments.jsonl", "a") as file:
        file.write(json.dumps(dict(os.environ)) + "\\n")
"""


@pytest.fixture
def head(start, with_model):
    """The nano study, not started yet."""
    return start(with_model, study="nano", options=("--jobs", "4"))


@pytest.fixture
def trainings(start, with_data):
    """The trainings of that study, not started yet; everything before them is there."""
    return start(with_data, study="nano", options=("--jobs", "4"))


@pytest.fixture
def one(start, with_data):
    """One of them."""
    with_data.study("one", grid={}, untrained=[])
    return start(with_data, study="one", options=("--jobs", "4"))


def test_the_same_table_as_without_a_cluster(head, finished_once):
    folder = head.workspace.folder
    (folder / "src/sitecustomize.py").write_text(TELL)
    head.is_patient = True
    head.start(until=None)
    assert head.finish() == 0, head.all_said()
    ours, theirs = (place / "results/studies/nano/comparison.csv" for place in (folder, finished_once.folder))
    assert ours.read_bytes() == theirs.read_bytes()
    # GPUs for trainings and answers, none for the CPU stages; downloads, publishing and tables are no jobs at all.
    gpus = {job["rule"]: "gres/gpu=1" in job["AllocTRES"] for job in accounted(folder)}
    assert gpus == {"clean": False, "format": False, "prompts": False, "score": False, "train": True, "generate": True}
    with_gpus(head, ("train", "generate"))


def test_gpus_are_asked_for_by_gres_where_a_cluster_wants_that(one):
    (one.workspace.folder / "src/sitecustomize.py").write_text(TELL)
    one.start("--set-resources", "train:gpu=0", "train:gres=gpu:t4:1")
    assert one.finish() == 0, one.all_said()
    with_gpus(one, ("train",))


def test_jobs_go_to_the_partition_that_fits_where_partitions_are_described(start, with_model, node):
    with_model.study("one", grid={}, untrained=[])
    head = start(with_model, study="one", options=("--jobs", "4"))
    # As cluster/slurm/partitions.yaml, for the partitions of this cluster; the one for GPUs is not its default here.
    place = head.workspace
    described = place.yaml("cluster/slurm/partitions.yaml")["partitions"]
    limits = {"max_mem_mb": 12000, "max_threads": 4, "available_constraints": [node]}
    described = {"gpu": described["compute"] | limits, "cancelling": described["gpu"] | limits}
    (place.folder / "cluster/slurm/partitions.yaml").write_text(yaml.safe_dump({"partitions": described}))
    head.edit_profile(**{"slurm-partition-config": "cluster/slurm/partitions.yaml"})
    head.start()
    assert head.finish() == 0, head.all_said()
    partitions = {(job["rule"], job["Partition"]) for job in accounted(place.folder)}
    assert partitions == {("clean", "gpu"), ("format", "gpu"), ("train", "cancelling")}, head.all_said()


def with_gpus(head, rules):
    """Check that the processes of all jobs of some rules were given a GPU, and told not to ask the hub."""
    environments = head.workspace.json_lines("environments.jsonl")
    assert len(environments) == len([job for job in accounted(head.workspace.folder) if job["rule"] in rules])
    for environment in environments:
        assert environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")
        assert environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("profile", ["cluster/slurm", "cluster/submitit"])
def test_a_run_that_fails_for_good_is_one_job_and_the_rest_goes_on(start, with_data, profile):
    # A learning rate at which the loss is not a number after the first steps.
    recipe = {"rank": 2, "batch_size": 4, "max_steps": 4}
    with_data.study("diverging", grid={"learning_rate": [1e30, 2e-3]}, recipe=recipe, untrained=[])
    head = start(with_data, study="diverging", profile=profile, options=("--jobs", "4"))
    head.start()
    assert head.finish() == 1, head.all_said()
    rows = {row["learning_rate"]: row for row in with_data.table("diverging")}
    assert rows["0.002"]["reason"] == "trained, not asked yet"
    assert rows["1e+30"]["status"] == "failed"
    assert "loss is" in rows["1e+30"]["reason"]
    assert "attempt-1.log" in rows["1e+30"]["reason"]
    trainings = [job for job in accounted(with_data.folder) if job["rule"] == "train"]
    assert len(trainings) == len(list(with_data.folder.glob("results/batches/train-*.json")))
    (failed,) = with_data.folder.glob("results/runs/*/*/*/work/failed.json")
    assert len(with_data.json_lines(failed.with_name("attempts.jsonl"))) == 2  # one attempt: its beginning and end
    # A new start says so again, and puts nothing into the queue.
    head.start()
    assert head.finish() == 1, head.all_said()
    assert len([job for job in accounted(with_data.folder) if job["rule"] == "train"]) == len(trainings)


def test_ctrl_c_ends_all_jobs_and_a_new_start_goes_on(trainings):
    head, folder = trainings, trainings.workspace.folder
    head.start()
    wait_until(lambda: training(folder), what=head.all_said)
    made = head.workspace.files("data/**/*")
    head.process.send_signal(signal.SIGINT)
    wait_until(lambda: not jobs(folder), seconds=30, what=head.all_said)
    assert head.finish() != 0
    head.start()
    assert head.finish() == 0, head.all_said()
    assert head.workspace.files("data/**/*") == made
    assert all((run / "run.json").exists() for run in head.workspace.runs().values())


def test_a_start_beside_jobs_of_a_killed_head_says_what_to_do_and_later_goes_on(trainings):
    head, folder = trainings, trainings.workspace.folder
    (folder / "src/sitecustomize.py").write_text(PACE.replace("0.06", "4"))  # still there at the next start
    head.start()
    job = wait_until(lambda: training(folder), what=head.all_said)[0]
    os.killpg(head.process.pid, signal.SIGKILL)
    head.process.wait()
    head.workspace.snakemake("--unlock", study="nano")
    before = head.output.stat().st_size
    head.start()
    assert head.finish() == 1, head.all_said()
    said = head.output.read_text()[before:]
    assert "is in the queue already, from another start" in said
    assert job["id"] in said
    assert "scancel" in said
    # What its jobs finish in the meantime is not done again.
    wait_until(lambda: not jobs(folder), what=head.all_said)
    trained = [run for run in head.workspace.runs().values() if (run / "work/run.json").exists()]
    assert trained
    head.start()
    assert head.finish() == 0, head.all_said()
    for run in trained:
        assert len(head.workspace.json_lines(run / "work/attempts.jsonl")) == 2
    assert all((run / "run.json").exists() for run in head.workspace.runs().values())


def test_partitions_that_cancel_preempted_jobs_are_named_at_the_start(head):
    head.edit_profile(default_resources={"slurm_partition": "cancelling"})
    head.start(until="clean")
    assert head.finish() == 0, head.all_said()
    said = head.output.read_text()
    assert "partition cancelling: preempted jobs are cancelled here (PreemptMode=CANCEL)" in said
    assert "cluster/submitit" in said


def training(folder):
    """Trainings that are running."""
    return [job for job in jobs(folder) if "rule_train" in job["comment"] and job["state"] == "RUNNING"]
