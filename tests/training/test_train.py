import json
import math
import os
import re
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from nano import FORMATTED, MODEL, adapter, batch_of, direct_loss, records, rows, train, train_member
from safetensors.torch import load_file, save_file
from trl import SFTTrainer

from loragrid.files import read_json, write_json
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.environment import stream
from loragrid.modeling.load import attach_adapter, attach_new_adapter, load_base, trainable_parameters
from loragrid.training.order import epoch_order
from loragrid.training.records import Records
from loragrid.training.train import train_batch
from loragrid.training.trainer import RunTrainer


@pytest.fixture(scope="module")
def trained(nano_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(nano_root)
        yield train(tmp_path_factory.mktemp("trained") / "run", label="SFT1")


def test_run_json_tells_what_was_trained_and_what_it_took(nano, trained):
    run = json.loads((trained / "run.json").read_text())
    assert (run["label"], run["steps"], run["scale"], run["precision"]) == ("SFT1", 12, 2.0, "nf4")
    assert run["rows"] == {"train": 30, "validation": 7}
    assert run["cut"] == {"shortened": 0, "too_long": 0}
    assert run["cost"]["tokens"] == sum(line.get("tokens", 0) for line in records(trained))
    assert run["cost"]["attempts"] == 1
    assert run["cost"]["seconds"] > 0
    assert run["cost"]["peak_memory_bytes"] > 1e6
    assert run["parameters"]["trainable"] == sum(
        tensor.numel() for tensor in load_file(trained / "adapter" / "adapter_model.safetensors").values()
    )
    assert run["loss"]["best_validation"] == min(line.get("validation_loss", 9) for line in records(trained))
    assert not (trained / "checkpoints").exists()


def test_each_step_tells_what_it_took_apart_from_what_comes_out_the_same(trained):
    usage = [json.loads(line) for line in (trained / "usage.jsonl").read_text().splitlines()]
    steps = [line for line in records(trained) if "loss" in line]
    assert [line["step"] for line in usage] == [line["step"] for line in steps] == list(range(1, 13))
    for line, step in zip(usage, steps, strict=True):
        assert line["seconds"] > 0
        assert line["tokens_per_second"] == pytest.approx(step["tokens"] / line["seconds"], rel=1e-2)
        assert line["memory_bytes"] > 1e6
        assert step.keys() == {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "loss_tokens"}


def test_tokens_with_a_loss_are_counted(trained):
    shown = rows("train")
    with_loss = [sum(label != -100 for label in row["labels"][1:]) for row in shown]
    order = epoch_order([row["length"] for row in shown], 8, f"{'f' * 64}:{stream(42, 'order')}", 0, group=True)
    first = [line for line in records(trained) if "loss" in line][:4]
    assert [line["loss_tokens"] for line in first] == [
        sum(with_loss[row] for row in order[start : start + 8]) for start in range(0, 32, 8)
    ]
    assert all(line["loss_tokens"] < line["tokens"] for line in first)


def test_the_adapter_names_no_place_on_this_machine(trained):
    text = (trained / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == MODEL
    assert not re.search(r'"/|\\\\', text)
    assert sorted(file.name for file in (trained / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_trl_trains_on_the_cross_entropy_of_the_labelled_tokens(nano, trained, tmp_path):
    shown = rows("train")
    seed = f"{'f' * 64}:{stream(42, 'order')}"
    first = epoch_order([row["length"] for row in shown], 8, seed, 0, group=True)[:8]
    model = attach_new_adapter(load_base(MODEL, "nf4"), train_member(tmp_path).run.recipe, 42)
    assert records(trained)[0]["loss"] == pytest.approx(direct_loss(model, [shown[row] for row in first]), rel=1e-5)


def test_the_validation_loss_is_that_of_the_saved_adapter_token_by_token(nano, trained):
    model = attach_adapter(load_base(MODEL, "nf4"), trained / "adapter")
    last = [line["validation_loss"] for line in records(trained) if "validation_loss" in line][-1]
    assert last == pytest.approx(direct_loss(model, rows("validation")), rel=1e-5)


def test_the_effective_batch_decides_and_not_the_micro_batch(nano, trained, tmp_path):
    work = train(tmp_path / "run", micro_batch=2)
    assert json.loads((work / "run.json").read_text())["micro_batch"] == 2
    small, large = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (work, trained))
    for name, tensor in large.items():
        assert small[name].norm().item() == pytest.approx(tensor.norm().item(), rel=1e-4), name
    for line, other in zip(records(work), records(trained), strict=True):
        assert line.get("tokens") == other.get("tokens")
        for loss in ("loss", "validation_loss"):
            assert line.get(loss, 0) == pytest.approx(other.get(loss, 0), rel=1e-5)


def test_validating_more_often_changes_nothing_but_the_records(nano, trained, tmp_path):
    # Also where bitsandbytes would pack the weights of a model in evaluation mode, which loses their gradients.
    assert adapter(train(tmp_path / "run", evaluations=12)) == adapter(trained)


def test_activations_that_are_computed_again_change_nothing(nano, tmp_path):
    kept, again = (
        train(tmp_path / str(value), gradient_checkpointing=value, dropout=0.1, epochs=1, evaluations=1)
        for value in (False, True)
    )
    assert adapter(again) == adapter(kept)
    assert records(again) == records(kept)


def test_another_seed_is_another_training(nano, trained, tmp_path):
    work = train(tmp_path / "run", seed=43)
    assert adapter(work) != adapter(trained)
    assert [line.get("tokens") for line in records(work)] != [line.get("tokens") for line in records(trained)]


def test_initial_weights_are_trained_as_they_were_drawn(nano, tmp_path, monkeypatch):
    recipe = train_member(tmp_path).run.recipe
    drawn = trainable_parameters(attach_new_adapter(load_base(MODEL, "nf4"), recipe, 42))
    seen = {}

    def look(self, *_, **__):
        seen.update({name: weight.detach().clone() for name, weight in self.run.adapter.items()})
        raise InterruptedError

    monkeypatch.setattr(SFTTrainer, "train", look)
    train_batch(batch_of(train_member(tmp_path / "run")), 60)
    assert seen.keys() == drawn.keys()
    for name, weight in drawn.items():
        assert seen[name].dtype == torch.float32
        assert torch.equal(seen[name], weight), name
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in drawn.values())


@pytest.mark.parametrize("precision", ["16bit", "32bit"])
def test_lora_over_a_base_that_is_not_quantised(nano, tmp_path, precision):
    work = train(tmp_path / "run", method="lora", precision=precision, schedule="constant", warmup=0.25, epochs=1)
    rates = [line["learning_rate"] for line in records(work) if "loss" in line]
    assert rates == [0.0, 5e-3, 5e-3, 5e-3]


def test_keep_best_publishes_the_adapter_of_the_lowest_validation_loss(nano, tmp_path):
    # So high a rate that the run gets worse towards its end.
    recipe = {"learning_rate": 0.3, "schedule": "constant", "evaluations": 12, "warmup": 0.5}
    best, last = (train(tmp_path / keep, keep=keep, **recipe) for keep in ("best", "last"))
    assert records(best) == records(last)
    losses = {line["step"]: line["validation_loss"] for line in records(best) if "validation_loss" in line}
    step = min(losses, key=losses.__getitem__)
    assert step < 12
    loss = json.loads((best / "run.json").read_text())["loss"]
    assert (loss["best_step"], loss["best_validation"]) == (step, losses[step])
    for work, expected in ((best, losses[step]), (last, losses[12])):
        model = attach_adapter(load_base(MODEL, "nf4"), work / "adapter")
        assert direct_loss(model, rows("validation")) == pytest.approx(expected, rel=1e-4)


def test_a_child_starts_from_its_parents_adapter(nano, trained, tmp_path):
    folder = tmp_path / "child"
    tiny = {"learning_rate": 1e-12, "max_steps": 1, "evaluations": 1, "dropout": 0.25}
    work = train(folder, parent=str(trained.parent), **tiny)
    parent, child = (load_file(place / "adapter" / "adapter_model.safetensors") for place in (trained, work))
    assert parent.keys() == child.keys()
    for name, tensor in parent.items():
        assert torch.allclose(child[name], tensor, atol=1e-9), name
    assert json.loads((work / "adapter" / "adapter_config.json").read_text())["lora_dropout"] == 0.25
    assert json.loads((work / "run.json").read_text())["parent"] == str(trained.parent)


def test_a_child_of_a_failed_parent_waits_until_that_failure_is_gone(nano, tmp_path):
    parent = train_member(tmp_path / "parent", target_modules=["nowhere"])
    child = train_member(tmp_path / "child", parent=str(tmp_path / "parent"), max_steps=1, evaluations=1)
    assert train_batch(batch_of(parent, child), 60)
    failure = json.loads((tmp_path / "child" / "work" / "failed.json").read_text())
    assert "its parent run parent failed: target_modules" in failure["reason"]
    assert failure["blocked_by"] == str(tmp_path / "parent" / "work" / "failed.json")
    Path(failure["blocked_by"]).unlink()
    (tmp_path / "parent" / "work").rename(tmp_path / "parent" / "old")
    train(tmp_path / "parent", max_steps=1, evaluations=1)
    assert train_batch(batch_of(child), 60)
    assert (tmp_path / "child" / "work" / "run.json").exists()
    assert not (tmp_path / "child" / "work" / "failed.json").exists()


def test_failures_for_good_are_told_and_do_not_hold_up_the_next(nano, tmp_path):
    missing = train_member(tmp_path / "targets", target_modules=["q_proj", "qkv_proj"])
    head = train_member(tmp_path / "head", target_modules=["lm_head"])
    eight = train_member(tmp_path / "optimizer", optimizer="adamw_8bit")
    good = train_member(tmp_path / "good", max_steps=1, evaluations=1)
    assert train_batch(batch_of(missing, head, eight, good), 60)

    def reason(name):
        return json.loads((tmp_path / name / "work" / "failed.json").read_text())["reason"]

    assert "llama has no qkv_proj that can be adapted" in reason("targets")
    assert "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj" in reason("targets")
    assert "no lm_head that can be adapted" in reason("head")
    assert "use `adamw`" in reason("optimizer")
    assert (tmp_path / "good" / "work" / "run.json").exists()
    assert [record["ended"] for record in read_attempts(tmp_path / "targets" / "work")] == ["failed"]
    # Nothing is tried again.
    assert train_batch(batch_of(missing, head, eight, good), 60)
    assert len(read_attempts(tmp_path / "targets" / "work")) == 1


def test_a_loss_that_is_no_number_ends_the_run_with_advice(nano, tmp_path, monkeypatch):
    compute = SFTTrainer.compute_loss

    def spoilt(self, *arguments, **keywords):
        loss = compute(self, *arguments, **keywords)
        return loss * math.nan if self.state.global_step == 4 else loss

    monkeypatch.setattr(SFTTrainer, "compute_loss", spoilt)
    assert train_batch(batch_of(train_member(tmp_path / "run")), 60)
    work = tmp_path / "run" / "work"
    reason = json.loads((work / "failed.json").read_text())["reason"]
    assert "nan at step 5" in reason
    assert "learning rate" in reason
    assert records(work)[-1]["step"] == 4
    assert not (work / "adapter").exists()


def test_a_learning_rate_that_is_far_too_high_is_found_out(nano, tmp_path):
    """Whichever comes first, a loss or a gradient that is no number; no library's filter hides it."""
    assert train_batch(batch_of(train_member(tmp_path / "run", alpha=4096, learning_rate=1e20)), 60)
    reason = reason_of(tmp_path / "run")
    assert re.match(r"the (training loss|norm of the gradient|validation loss) is (nan|inf) at step \d+ ", reason)
    assert "(learning_rate 1e+20): a lower learning rate" in reason
    assert not (tmp_path / "run" / "work" / "adapter").exists()


@pytest.fixture
def overflowing(monkeypatch):
    """Gradients that are infinite for some steps."""
    norm = RunTrainer._get_grad_norm

    def steps(number):
        def overflowing(self, *arguments, **keywords):
            found = norm(self, *arguments, **keywords)
            return math.inf if self.state.global_step < number else found

        monkeypatch.setattr(RunTrainer, "_get_grad_norm", overflowing)

    return steps


@pytest.fixture
def scaler(monkeypatch):
    """A fake of what only fp16 on a GPU has: a scaler, at one scale all the time."""

    def at(scale):
        monkeypatch.setattr(RunTrainer, "_scaler", lambda self: SimpleNamespace(get_scale=lambda: scale))

    return at


def test_a_gradient_that_is_no_number_ends_the_run_with_its_step(nano, tmp_path, overflowing):
    overflowing(1)
    assert train_batch(batch_of(train_member(tmp_path / "run")), 60)
    assert "the norm of the gradient is inf at step 1 (learning_rate 0.005)" in reason_of(tmp_path / "run")


def test_gradients_that_overflow_under_fp16_are_no_reason_to_stop_and_stay_json(nano, tmp_path, overflowing, scaler):
    overflowing(1)
    scaler(2.0**15)
    work = train(tmp_path / "run", max_steps=2, evaluations=1)
    assert [line["grad_norm"] is None for line in records(work) if "loss" in line] == [True, False]


def test_gradients_that_overflow_without_any_scale_end_the_run(nano, tmp_path, overflowing, scaler):
    overflowing(9)
    scaler(0.5)
    assert train_batch(batch_of(train_member(tmp_path / "run")), 60)
    assert "the norm of the gradient is inf at step 1" in reason_of(tmp_path / "run")


def test_interrupted_before_fp16_has_found_its_scale_it_goes_on(nano, tmp_path, overflowing, scaler, monkeypatch):
    overflowing(1)
    scaler(2.0**15)
    add = Records.add

    def told(self, step, **values):
        add(self, step, **values)
        if step == 1 and "loss" in values and len(read_attempts(tmp_path / "run" / "work")) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Records, "add", told)
    member = train_member(tmp_path / "run", max_steps=3, evaluations=1)
    assert not train_batch(batch_of(member), 60)
    assert not (tmp_path / "run" / "work" / "failed.json").exists()
    assert train_batch(batch_of(member), 60)
    assert [attempt["ended"] for attempt in read_attempts(tmp_path / "run" / "work")] == ["terminated", "finished"]


def test_a_training_that_took_no_step_is_none(nano, tmp_path, overflowing, scaler):
    overflowing(9)
    scaler(2.0**15)
    assert train_batch(batch_of(train_member(tmp_path / "run", max_steps=2, evaluations=1)), 60)
    assert "the gradients of all 2 steps overflowed in fp16, so that none was taken" in reason_of(tmp_path / "run")
    assert not (tmp_path / "run" / "work" / "adapter").exists()


def test_out_of_memory_is_recorded_as_such_and_tried_again(nano, tmp_path, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. (injected by this test)")
    with monkeypatch.context() as patch:
        patch.setattr(SFTTrainer, "training_step", lambda *_, **__: (_ for _ in ()).throw(error))
        first, second = (train_member(tmp_path / name, max_steps=1, evaluations=1) for name in ("first", "second"))
        assert not train_batch(batch_of(first, second), 60)
    # Another process goes on: this one may hold memory that nobody can use any more.
    for name, ends in (("first", ["out of memory"]), ("second", [])):
        assert [record["ended"] for record in read_attempts(tmp_path / name / "work")] == ends
        assert not (tmp_path / name / "work" / "failed.json").exists()
    assert train_batch(batch_of(first, second), 60)


def test_a_child_refuses_an_adapter_that_is_not_its_parents(nano, trained, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(trained.parent, parent)
    weights = parent / "work" / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    member = train_member(tmp_path / "child", parent=str(parent), max_steps=1, evaluations=1)
    other = replace(member, run=replace(member.run, folder=str(tmp_path / "two")), parent_key="x" * 64)
    assert train_batch(batch_of(member, other), 60)
    assert f"{weights}: is not the adapter that was trained here" in reason_of(tmp_path / "child")
    assert "was trained with other settings than parent" in reason_of(tmp_path / "two")


def test_a_child_refuses_a_configuration_that_is_not_its_parents(nano, trained, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(trained.parent, parent)
    file = parent / "work" / "adapter" / "adapter_config.json"
    write_json(file, read_json(file) | {"lora_alpha": 32})
    assert train_batch(batch_of(train_member(tmp_path / "child", parent=str(parent), max_steps=1, evaluations=1)), 60)
    assert f"{file}: is not the adapter that was trained here (`adapter_config_sha256`" in reason_of(tmp_path / "child")


def reason_of(folder):
    assert [record["ended"] for record in read_attempts(folder / "work")] == ["failed"]
    return json.loads((folder / "work" / "failed.json").read_text())["reason"]


def test_what_a_model_cannot_take_is_refused_before_training_and_not_tried_again(nano, tmp_path):
    def model(name, **changes):
        shutil.copytree(MODEL, tmp_path / name)
        for file, change in changes.items():
            path = tmp_path / name / f"{file}.json"
            write_json(path, read_json(path) | change)
        return str(tmp_path / name)

    few = {"max_steps": 1, "evaluations": 1}
    short = model("short", config={"max_position_embeddings": 64})
    padding = model("padding", tokenizer_config={"pad_token": "<pad>"})
    members = [
        train_member(tmp_path / "length", model_folder=short, **few),
        train_member(tmp_path / "pad", model_folder=padding, **few),
        train_member(tmp_path / "rank", rank=65, **few),
        train_member(tmp_path / "rates", warmup=0.1, batch_size=32, epochs=1, evaluations=1),
    ]
    assert train_batch(batch_of(*members), 60)
    assert "max_length 96 is more than this llama can read, which has positions for 64 tokens" in reason_of(
        tmp_path / "length"
    )
    assert "pads with '<pad>', which is token 396, and the embedding has 396 rows" in reason_of(tmp_path / "pad")
    assert "rank 65 is larger than model.layers.0." in reason_of(tmp_path / "rank")
    assert "the first step of a warm-up has a learning rate of 0" in reason_of(tmp_path / "rates")
    assert train_batch(batch_of(*members), 60)
    assert all(len(read_attempts(Path(member.run.folder, "work"))) == 1 for member in members)


def test_tokens_of_another_model_are_refused_before_training(nano, tmp_path):
    rows = Dataset.from_file(f"{FORMATTED}/train.arrow")
    shutil.copytree(FORMATTED, tmp_path / "formatted")
    with ArrowWriter(path=str(tmp_path / "formatted" / "train.arrow"), features=rows.features) as writer:
        for row in rows:
            writer.write(row | {"input_ids": [*row["input_ids"][:-1], 396]})
        writer.finalize()
    member = train_member(tmp_path / "run", formatted_folder=str(tmp_path / "formatted"), max_steps=1, evaluations=1)
    assert train_batch(batch_of(member), 60)
    assert "makes tokens up to 396 of this text, and the embedding has 396 rows" in reason_of(tmp_path / "run")


def test_a_full_disk_is_told_as_such_and_leaves_no_half_adapter(nano, tmp_path):
    # As much as files may have here is as little as a full disk lets them have.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    member = train_member(tmp_path / "run", max_steps=1, evaluations=1, rank=32)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        assert train_batch(batch_of(member), 60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "no room left on the disk" in reason_of(tmp_path / "run")
    assert str(tmp_path / "run" / "work") in reason_of(tmp_path / "run")
    assert not list((tmp_path / "run" / "work").glob("*adapter*"))
    (tmp_path / "run" / "work" / "failed.json").unlink()
    assert train_batch(batch_of(member), 60)
    assert (tmp_path / "run" / "work" / "run.json").exists()
