"""Several processes that train together, on the CPU: the same result as one, whatever happens to them."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from injected import out_of_memory
from nano import (
    MODEL,
    PAIRS,
    TIED,
    TURNS,
    TURNS_CHAT,
    adapter,
    add_end_tokens,
    add_pairs,
    batch_of,
    compare,
    records,
    train,
    train_member,
    write_batch,
)
from safetensors.torch import load_file

from loragrid.jobs.attempts import read_attempts
from loragrid.training.train import train_batch

pytestmark = pytest.mark.slow


def launch(folder, gpus, customize="", ends=0, **recipe):
    """`loragrid train --gpus N` of one run, which ends with a status; its work folder."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(customize)
    batch = write_batch(folder / "batch.json", train_member(folder / "run", **recipe))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "loragrid", "train", str(batch), "--gpus", str(gpus)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ends, done.stdout + done.stderr
    return folder / "run" / "work"


def assert_close(one, other, tolerance):
    ours, theirs = (load_file(work / "adapter/adapter_model.safetensors") for work in (one, other))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        assert (ours[name] - weight).norm() <= tolerance * weight.norm(), name


def test_two_processes_train_the_same_as_one_also_beside_another_such_job(nano, tmp_path):
    def train(name, gpus):
        return launch(tmp_path / name, gpus, max_steps=100, group_by_length=True)

    with ThreadPoolExecutor() as together:
        one, *others = together.map(train, ("alone", "two", "two more"), (1, 2, 2))
    for two in others:
        assert_close(two, one, 1e-4)
        assert [line["step"] for line in records(two)] == [line["step"] for line in records(one)]
        run = json.loads((two / "run.json").read_text())
        assert (run["gpus"], run["micro_batch"]) == (2, 4)


@pytest.mark.parametrize("adapter", ["continue", "stack"])
def test_two_processes_learn_the_same_preferences_as_one(nano, tmp_path, adapter):
    add_pairs()
    parent = train_member(tmp_path / "parent", max_steps=6)
    assert train_batch(batch_of(parent), 60.0)
    recipe = {
        "parent": str(tmp_path / "parent"), "objective": "dpo", "formatted_folder": PAIRS, "adapter": adapter,
        "compared_with": compare(tmp_path / "compared", parent), "max_steps": 100, "learning_rate": 1e-3,
    }  # fmt: skip
    one, two = (launch(tmp_path / f"{gpus}", gpus, **recipe) for gpus in (1, 2))
    assert_close(two, one, 1e-4)
    for line, other in zip(records(two), records(one), strict=True):
        assert line == pytest.approx(other, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("model", [MODEL, TIED])
def test_two_processes_train_an_end_token_the_same_as_one(nano, tmp_path, model):
    add_end_tokens()
    recipe = {"model_folder": model, "formatted_folder": TURNS, "chat": TURNS_CHAT, "max_steps": 30, "keep": "best"}
    one, two = (launch(tmp_path / f"{gpus}", gpus, **recipe) for gpus in (1, 2))
    assert_close(two, one, 1e-4)


def test_injected_out_of_memory_halves_the_micro_batch_and_not_the_result(nano, tmp_path):
    work = launch(tmp_path / "full", 1, out_of_memory(rows=2))
    assert [attempt["ended"] for attempt in read_attempts(work)] == ["out of memory", "out of memory", "finished"]
    run = json.loads((work / "run.json").read_text())
    assert (run["micro_batch"], run["out_of_memory"]) == (2, 2)
    whole = launch(tmp_path / "whole", 1, micro_batch=2)
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)


# Writes down which part of the base each rank holds.
SHARES = """
import sys
if "worker" in sys.orig_argv:
    import json, os
    import loragrid.training.train as train
    shard = train.shard
    def shard_and_tell(model):
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        shard(model)
        held = {name: getattr(parameter, "_local_tensor", parameter) for name, parameter in model.named_parameters()}
        shares = {name: tensor.numel() / sizes[name] for name, tensor in held.items()}
        with open(os.path.join(os.path.dirname(__file__), "rank-" + os.environ["RANK"]), "w") as file:
            json.dump(shares, file)
    train.shard = shard_and_tell
"""


@pytest.mark.parametrize(("precision", "method"), [("nf4", "qlora"), ("32bit", "lora")])
def test_a_base_spread_over_two_processes_is_trained_on_the_same(nano, tmp_path, precision, method):
    recipe = {"precision": precision, "method": method, "batch_size": 12, "max_steps": 30, "keep": "best"}
    one = train(tmp_path / "one", **recipe)
    # Gradients are accumulated over two micro-batches; three validation batches cannot be shared out evenly.
    two = launch(tmp_path / "two", 2, SHARES, sharded=True, micro_batch=3, **recipe)
    assert_close(two, one, 1e-4)
    ours, theirs = records(two), records(one)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for kind in ("loss", "grad_norm", "validation_loss"):
        values = [line[kind] for line in theirs if kind in line]
        assert [line[kind] for line in ours if kind in line] == pytest.approx(values, rel=1e-4)
    run, run_of_one = (json.loads((work / "run.json").read_text()) for work in (two, one))
    assert run["parameters"] == run_of_one["parameters"]
    assert run["micro_batch"] == 3
    for rank in range(2):
        shares = json.loads((tmp_path / "two" / f"rank-{rank}").read_text())
        for name, share in shares.items():
            spread = ".layers." in name and "lora_" not in name
            assert share == (0.5 if spread else 1), name


INTERRUPTED = """
import sys
if "worker" in sys.orig_argv:
    import os, signal
    import loragrid.training.records as records
    add = records.Records.add
    def added(self, step, **values):
        add(self, step, **values)
        if step == {} and "loss" in values and os.environ.get("RANK", "0") == "0":
            os.kill(os.getpid(), signal.SIGTERM)
    records.Records.add = added
"""


def test_interrupted_and_resumed_it_ends_as_it_would_have(nano, tmp_path):
    recipe = {"sharded": True, "dropout": 0.1, "keep": "best"}
    launch(tmp_path / "halves", 2, INTERRUPTED.format(5), ends=1, **recipe)
    halves = launch(tmp_path / "halves", 2, **recipe)
    assert [attempt["ended"] for attempt in read_attempts(halves)] == ["terminated", "finished"]
    assert_close(halves, launch(tmp_path / "whole", 2, **recipe), 1e-6)


def test_a_run_goes_on_with_its_base_spread_or_whole(nano, tmp_path):
    launch(tmp_path / "run", 2, INTERRUPTED.format(4), ends=1, sharded=True)
    launch(tmp_path / "run", 1, INTERRUPTED.format(8), ends=1)
    work = launch(tmp_path / "run", 2, sharded=True)
    assert [attempt["ended"] for attempt in read_attempts(work)] == ["terminated", "terminated", "finished"]
    assert_close(work, train(tmp_path / "whole"), 1e-4)


def test_an_adapter_that_begins_with_a_part_of_a_spread_base_ends_early_at_the_same_step(nano, tmp_path):
    # So high a rate that the validation loss soon rises.
    recipe = {"learning_rate": 0.1, "schedule": "constant", "warmup": 0.5, "evaluations": 12, "keep": "best"}
    recipe |= {"patience": 2, "initialisation": "olora", "sharded": True, "dropout": 0.1}
    whole = launch(tmp_path / "whole", 2, **recipe)
    run = json.loads((whole / "run.json").read_text())
    assert run["stopped_early"]
    assert run["steps"] < 12
    launch(tmp_path / "halves", 2, INTERRUPTED.format(run["steps"]), ends=1, **recipe)
    halves = launch(tmp_path / "halves", 2, **recipe)
    assert json.loads((halves / "run.json").read_text())["steps"] == run["steps"]
    assert_close(halves, whole, 1e-6)
