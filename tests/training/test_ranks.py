"""Several processes that train together, on the CPU: the same result as one, whatever happens to them."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from nano import adapter, records, train_member, write_batch
from safetensors.torch import load_file

from loragrid.attempts import read_attempts


def launch(folder, gpus, customize="", **recipe):
    """`loragrid train --gpus N` of one run; its work folder."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(customize)
    batch = write_batch(folder / "batch.json", train_member(folder / "run", **recipe))
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "loragrid", "train", str(batch), "--gpus", str(gpus)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run" / "work"


def test_two_processes_train_the_same_as_one_also_beside_another_such_job(nano, tmp_path):
    def train(name, gpus):
        return launch(tmp_path / name, gpus, max_steps=100, group_by_length=True)

    with ThreadPoolExecutor() as together:
        one, *others = together.map(train, ("alone", "two", "two more"), (1, 2, 2))
    theirs = load_file(one / "adapter/adapter_model.safetensors")
    for two in others:
        ours = load_file(two / "adapter/adapter_model.safetensors")
        for name, weight in theirs.items():
            assert (ours[name] - weight).norm() <= 1e-4 * weight.norm(), name
        assert [line["step"] for line in records(two)] == [line["step"] for line in records(one)]
        run = json.loads((two / "run.json").read_text())
        assert (run["gpus"], run["micro_batch"]) == (2, 4)


# A stand-in for what only a GPU does: the allocator fails at more than two rows.
OUT_OF_MEMORY = """
import sys
if "worker" in sys.orig_argv:
    import torch
    import loragrid.training.trainer as trainer
    step = trainer.RunTrainer.training_step
    def training_step(self, model, inputs, *rest):
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (injected by a test)")
        return step(self, model, inputs, *rest)
    trainer.RunTrainer.training_step = training_step
"""


def test_injected_out_of_memory_halves_the_micro_batch_and_not_the_result(nano, tmp_path):
    work = launch(tmp_path / "full", 1, OUT_OF_MEMORY)
    assert [attempt["ended"] for attempt in read_attempts(work)] == ["out of memory", "out of memory", "finished"]
    run = json.loads((work / "run.json").read_text())
    assert (run["micro_batch"], run["out_of_memory"]) == (2, 2)
    whole = launch(tmp_path / "whole", 1, micro_batch=2)
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)
