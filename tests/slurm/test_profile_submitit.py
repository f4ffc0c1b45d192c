"""The profile cluster/submitit on a real Slurm."""

from head import accounted


def test_the_same_table_as_without_a_cluster(start, finished_once, with_model):
    head = start(with_model, study="nano", profile="cluster/submitit", options=("--jobs", "4"))
    head.start(until=None)
    assert head.finish() == 0, head.all_said()
    ours, theirs = (place.folder / "results/studies/nano/comparison.csv" for place in (with_model, finished_once))
    assert ours.read_bytes() == theirs.read_bytes()
    # GPUs for trainings and answers, none for the CPU stages; downloads, publishing and tables are no jobs at all.
    gpus = {job["rule"]: "gres/gpu=1" in job["AllocTRES"] for job in accounted(with_model.folder)}
    assert gpus == {"clean": False, "format": False, "prompts": False, "score": False, "train": True, "generate": True}
    for run in with_model.runs().values():
        assert with_model.json_lines(run / "work/attempts.jsonl")[0]["gpus"] in ("0", "1")
