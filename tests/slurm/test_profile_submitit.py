"""The profile cluster/submitit on a real Slurm."""

import subprocess


def test_the_same_table_as_without_a_cluster(start, finished_once, with_model):
    head = start(with_model, study="nano", profile="cluster/submitit", options=("--jobs", "4"))
    head.start(until=None)
    assert head.finish() == 0, head.all_said()
    ours, theirs = (place.folder / "results/studies/nano/comparison.csv" for place in (with_model, finished_once))
    assert ours.read_bytes() == theirs.read_bytes()
    # GPUs for trainings and answers, none for the CPU stages; downloads, publishing and tables are no jobs at all.
    said = subprocess.run(
        ["sacct", "-X", "-n", "-P", "-S", "now-1hour", "-o", "JobName,AllocTRES,WorkDir"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    own = [line.split("|") for line in said.splitlines() if line.endswith(f"|{with_model.folder}")]
    gpus = {name.split("-")[1]: "gres/gpu=1" in tres for name, tres, _ in own}
    assert gpus == {"clean": False, "format": False, "prompts": False, "score": False, "train": True, "generate": True}
    for run in with_model.runs().values():
        assert with_model.json_lines(run / "work/attempts.jsonl")[0]["gpus"] in ("0", "1")
