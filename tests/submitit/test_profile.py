"""The profile cluster/submitit on a workstation with two GPUs: the same tables as without it."""

import itertools
import shutil

import pytest


@pytest.fixture
def two_gpus(monkeypatch):
    """GPUs as far as the executor knows; computed is on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


@pytest.mark.slow
@pytest.mark.usefixtures("two_gpus")
def test_the_same_table_as_without_it(finished):
    table = finished.folder / "results/studies/nano/comparison.csv"
    before = table.read_bytes()
    shutil.rmtree(finished.folder / "results")
    finished.snakemake("--profile", "cluster/submitit", "--submitit-cluster", "local", "--jobs", "4")
    assert table.read_bytes() == before
    trainings = [finished.json_lines(run / "work/attempts.jsonl") for run in finished.runs().values()]
    assert len(trainings) == 2
    for begins, _ in trainings:
        assert begins["gpus"] in ("0", "1")
    for (begins, ends), (other_begins, other_ends) in itertools.combinations(trainings, 2):
        at_a_time = begins["started"] < other_ends["at"] and other_begins["started"] < ends["at"]
        assert not at_a_time or begins["gpus"] != other_begins["gpus"]
