"""Fixtures: a training ready to be interrupted, and the same one as it ends without that; made once for all tests."""

import shutil

import pytest
from filelock import FileLock
from head import records, run_folder
from safetensors.numpy import load_file
from workspace import Workspace

STEPS = 96
MICRO_BATCH = 2
# Dropout and grouping by length draw random numbers; four micro-batches a step make partial accumulation.
RECIPE = {
    "rank": 2, "dropout": 0.1, "group_by_length": True, "learning_rate": 2e-3, "batch_size": 8, "max_steps": STEPS,
    "max_length": 128, "evaluations": 2,
}  # fmt: skip

# Trainings that a test interrupts take their time, on any machine.
PACE = """
import sys
if "worker" in sys.orig_argv:
    import time
    import loragrid.training.sft as sft
    step = sft.SupervisedTrainer.training_step
    def training_step(self, *inputs):
        time.sleep(0.12)
        return step(self, *inputs)
    sft.SupervisedTrainer.training_step = training_step
"""

# The time limit of jobs that shall come to it, in minutes: in one minute a busy machine just gets a training started.
LIMIT = 2


def beyond_limit(head):
    """Let a training take a little longer than one job may: its steps are of as many micro-batches as are shared."""
    processes = 2 if "train:gpu=2" in head.options else 1
    pause = (60 * LIMIT + 6) / STEPS / (RECIPE["batch_size"] / MICRO_BATCH / processes)
    (head.workspace.folder / "src/sitecustomize.py").write_text(PACE.replace("0.12", str(pause)))


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
def prepared(request, slurm, finished_once, tmp_path_factory, worker_id):
    """A workspace ready to train, the run of the same training uninterrupted, and options for that many processes."""
    processes = request.param
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    ready, whole = (Workspace(base / f"{name}-{processes}") for name in ("ready", "whole"))
    options = ("--set-resources", f"train:gpu={processes}")
    with FileLock(base / f"prepared-{processes}.lock"):
        if not (base / f"prepared-{processes}").exists():
            for place in (ready, whole):
                shutil.rmtree(place.folder, ignore_errors=True)
            _prepare(finished_once, ready, whole, options)
            (base / f"prepared-{processes}").touch()
    return ready, run_folder(whole), options


def _prepare(finished, ready, whole, options):
    finished.copy_to(whole.folder)
    shutil.rmtree(whole.folder / "results")
    study = whole.yaml("config/studies/nano.yaml")
    study["models"]["nano"]["micro_batch"] = MICRO_BATCH
    whole.study("slow", models=study["models"], grid={}, recipe=RECIPE, untrained=[])
    whole.snakemake("--until", "format", study="slow")
    whole.copy_to(ready.folder)
    (ready.folder / "src/sitecustomize.py").write_text(PACE)
    whole.snakemake("--until", "publish_run", *options, study="slow")


@pytest.fixture
def equal_to_whole(prepared):
    """Check that a run has the weights and records of one that was not interrupted."""
    whole = prepared[1]

    def check(run):
        equal_weights(run, whole)
        assert [line["step"] for line in records(run) if "loss" in line] == list(range(1, STEPS + 1))
        assert len(records(run)) == len(records(whole))
        for line, other in zip(records(run), records(whole), strict=True):
            assert line == pytest.approx(other, rel=1e-6)

    return check


def equal_weights(run, other):
    """Check that two runs have the same adapter, within 1e-6 of the norm of each tensor."""
    ours, theirs = (load_file(place / "adapter/adapter_model.safetensors") for place in (run, other))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert norm(ours[name] - weight) <= 1e-6 * norm(weight), name


def norm(tensor):
    """Euclidean norm."""
    return float((tensor**2).sum() ** 0.5)
