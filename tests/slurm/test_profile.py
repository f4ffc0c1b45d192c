"""The profile cluster/slurm on a real Slurm: the same tables, GPUs for those who need them, words at the start."""

import os
import signal
import subprocess

from head import jobs, wait_until


def test_the_same_table_as_without_a_cluster(start, finished_once, with_model):
    head = start(with_model, study="nano", options=("--jobs", "4"))
    head.start(until=None)
    assert head.finish(900) == 0, head.all_said()
    ours, theirs = (place.folder / "results/studies/nano/comparison.csv" for place in (with_model, finished_once))
    assert ours.read_bytes() == theirs.read_bytes()
    # GPUs for trainings and answers, none for the CPU stages; downloads, publishing and tables are no jobs at all.
    said = subprocess.run(
        ["sacct", "-X", "-n", "-P", "-S", "now-1hour", "-o", "Comment,AllocTRES,WorkDir"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    own = [line.split("|") for line in said.splitlines() if line.endswith(f"|{with_model.folder}")]
    gpus = {comment.split("_")[1]: "gres/gpu=1" in tres for comment, tres, _ in own}
    assert gpus == {"clean": False, "format": False, "prompts": False, "score": False, "train": True, "generate": True}
    for run in with_model.runs().values():
        attempt = with_model.json_lines(run / "work/attempts.jsonl")[0]
        assert attempt["gpus"] in ("0", "1")  # CUDA_VISIBLE_DEVICES inside the training process


def test_ctrl_c_ends_all_jobs_and_a_new_start_goes_on(start, with_model):
    head = start(with_model, study="nano", options=("--jobs", "4"))
    head.start(until=None)
    wait_until(lambda: jobs(with_model.folder), what=head.all_said)
    head.process.send_signal(signal.SIGINT)
    wait_until(lambda: not jobs(with_model.folder), seconds=30, what=head.all_said)
    assert head.finish() != 0


def test_a_second_start_beside_jobs_of_a_killed_head_says_what_to_do(start, with_model):
    head = start(with_model, study="nano", options=("--jobs", "4"))
    head.start(until=None)
    (job, *_) = wait_until(lambda: jobs(with_model.folder), what=head.all_said)
    os.killpg(head.process.pid, signal.SIGKILL)
    head.process.wait()
    subprocess.run(["scontrol", "hold", job["id"]], check=False)
    with_model.snakemake("--unlock", study="nano")
    head.start(until=None)
    assert head.finish() != 0
    said = head.output.read_text()
    assert "jobs of an earlier start are still in the queue" in said
    assert f"scancel {job['id']}" in said
