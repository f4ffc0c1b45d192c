"""Both profiles on a real Slurm: partitions, GPUs, failures, a head process that ends, words at the start."""

import os
import signal

import pytest
import yaml
from gpus import TELL, with_gpus
from head import accounted, jobs, wait_until
from interrupted import PACE


@pytest.fixture
def head(start, with_data):
    """The trainings of the nano study, not started yet; everything before them is there."""
    return start(with_data, study="nano", options=("--jobs", "4"))


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
    expected = {("clean", "gpu"), ("format", "gpu"), ("prompts", "gpu"), ("train", "cancelling")}
    assert partitions == expected, head.all_said()


@pytest.mark.parametrize("profile", ["cluster/slurm", "cluster/submitit"])
def test_a_run_that_fails_for_good_is_one_job_and_the_rest_goes_on(start, with_data, profile):
    # A learning rate at which the loss is not a number after the first steps.
    recipe = {"rank": 2, "batch_size": 4, "max_steps": 4, "max_length": 128}
    with_data.study("diverging", grid={"learning_rate": [1e30, 2e-3]}, recipe=recipe, untrained=[])
    head = start(with_data, study="diverging", profile=profile, options=("--jobs", "4"))
    # Where a cluster wants that, GPUs are asked for by gres.
    (with_data.folder / "src/sitecustomize.py").write_text(TELL)
    head.start(*(["--set-resources", "train:gpu=0", "train:gres=gpu:t4:1"] if profile == "cluster/slurm" else []))
    assert head.finish() == 1, head.all_said()
    rows = {row["learning_rate"]: row for row in with_data.table("diverging")}
    assert rows["0.002"]["reason"] == "trained, not asked yet"
    assert rows["1e+30"]["status"] == "failed"
    assert "loss is" in rows["1e+30"]["reason"]
    assert "attempt-1.log" in rows["1e+30"]["reason"]
    trainings = [job for job in accounted(with_data.folder) if job["rule"] == "train"]
    assert len(trainings) == len(list(with_data.folder.glob("results/batches/train-*.json")))
    with_gpus(head, ("train",))
    (failed,) = with_data.folder.glob("results/runs/*/*/*/work/failed.json")
    assert len(with_data.json_lines(failed.with_name("attempts.jsonl"))) == 2  # one attempt: its beginning and end
    # A new start says so again, and puts nothing into the queue.
    head.start()
    assert head.finish() == 1, head.all_said()
    assert len([job for job in accounted(with_data.folder) if job["rule"] == "train"]) == len(trainings)


def test_ctrl_c_ends_all_jobs_and_a_start_beside_jobs_of_a_killed_head_says_what_to_do(head):
    folder = head.workspace.folder
    (folder / "src/sitecustomize.py").write_text(PACE.replace("0.12", "4"))  # still there at the next start
    made = head.workspace.files("data/**/*")
    head.start()
    wait_until(lambda: training(folder), what=head.all_said)
    head.process.send_signal(signal.SIGINT)
    wait_until(lambda: not jobs(folder), what=head.all_said)
    assert head.finish() != 0
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
    trained = {run: run / "work/attempts.jsonl" for run in head.workspace.runs().values() if is_trained(run)}
    assert trained
    attempts = {run: file.read_bytes() for run, file in trained.items()}
    head.start()
    assert head.finish() == 0, head.all_said()
    assert {run: file.read_bytes() for run, file in trained.items()} == attempts
    assert all((run / "run.json").exists() for run in head.workspace.runs().values())
    assert head.workspace.files("data/**/*") == made


def test_partitions_that_cancel_preempted_jobs_are_named_at_the_start(start, with_model):
    head = start(with_model, study="nano")
    head.edit_profile(default_resources={"slurm_partition": "cancelling"})
    head.start(until="clean")
    assert head.finish() == 0, head.all_said()
    said = head.output.read_text()
    assert "partition cancelling: preempted jobs are cancelled here (PreemptMode=CANCEL)" in said
    assert "cluster/submitit" in said


def is_trained(run):
    """Whether a training has come to its end."""
    return (run / "work/run.json").exists()


def training(folder):
    """Trainings that are running."""
    return [job for job in jobs(folder) if "rule_train" in job["comment"] and job["state"] == "RUNNING"]
