"""The profile cluster/submitit on a workstation with two GPUs: the same adapters as without it.

That the tables are the same, too, is tested on Slurm (tests/slurm/test_profile_submitit.py).
"""

import itertools
import shutil

import pytest


@pytest.fixture
def two_gpus(monkeypatch):
    """GPUs as far as the executor knows; computed is on the CPU."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")


@pytest.mark.slow
@pytest.mark.usefixtures("two_gpus")
def test_the_same_adapters_as_without_it(finished):
    before = adapters(finished)
    shutil.rmtree(finished.folder / "results")
    arguments = ["--submitit-cluster", "local", "--jobs", "4", "--until", "publish_run"]
    finished.snakemake("--profile", "cluster/submitit", *arguments)
    assert adapters(finished) == before
    trainings = [finished.json_lines(run / "work/attempts.jsonl") for run in finished.runs().values()]
    assert len(trainings) == 2
    for begins, _ in trainings:
        assert begins["gpus"] in ("0", "1")
    for (begins, ends), (other_begins, other_ends) in itertools.combinations(trainings, 2):
        at_a_time = begins["started"] < other_ends["at"] and other_begins["started"] < ends["at"]
        assert not at_a_time or begins["gpus"] != other_begins["gpus"]


def adapters(workspace):
    return {name: (run / "adapter/adapter_model.safetensors").read_bytes() for name, run in workspace.runs().items()}
