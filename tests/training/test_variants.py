"""Kinds of LoRA: each is saved as an adapter over the base as it is, and is the model that was validated."""

import json
import os
import signal

import pytest
import torch
from nano import MODEL, adapter, batch_of, direct_loss, records, rows, train, train_member
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from loragrid.modeling import lora
from loragrid.modeling.load import attach_adapter, attach_new_adapter, load_base, trainable_parameters
from loragrid.training.records import Records
from loragrid.training.train import train_batch

SHORT = {"epochs": 1, "evaluations": 2}
VARIANTS = {
    "dora": {"dora": True, "dropout": 0.1},
    "olora": {"initialisation": "olora", "dropout": 0.1},
    "pissa": {"initialisation": "pissa", "method": "lora", "precision": "32bit", "rslora": True, "dropout": 0.1},
}


def settings(tmp_path, **changes):
    return train_member(tmp_path, **changes).run.recipe


def config(work):
    return json.loads((work / "adapter" / "adapter_config.json").read_text())


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, nano_root, tmp_path_factory):
    own = VARIANTS[request.param] | SHORT
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(nano_root)
        yield own, train(tmp_path_factory.mktemp(request.param) / "run", **own)


def test_what_is_saved_is_what_was_validated_over_the_base_as_it_is(nano, variant):
    own, work = variant
    model = attach_adapter(load_base(MODEL, own.get("precision", "nf4")), work / "adapter")
    last = [line["validation_loss"] for line in records(work) if "validation_loss" in line][-1]
    assert last == pytest.approx(direct_loss(model, rows("validation")), rel=1e-5)
    saved = config(work)
    assert saved["init_lora_weights"] is True
    assert saved["use_dora"] is own.get("dora", False)
    # Twice the rank at the same scale, where a part of the base is taken away again.
    begins = "initialisation" in own
    assert saved["r"] == (8 if begins else 4)
    scale = saved["lora_alpha"] / (saved["r"] ** 0.5 if saved["use_rslora"] else saved["r"])
    run = json.loads((work / "run.json").read_text())
    assert run["scale"] == pytest.approx(scale)
    weights = sum(tensor.numel() for tensor in load_file(work / "adapter" / "adapter_model.safetensors").values())
    assert weights == run["parameters"]["trainable"] * (2 if begins else 1)


def test_interrupted_and_resumed_it_is_the_same(nano, variant, tmp_path, monkeypatch):
    own, whole = variant
    add = Records.add

    def told(self, step, **values):
        add(self, step, **values)
        if step == 2 and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)

    member = train_member(tmp_path / "run", **own)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "add", told)
        assert not train_batch(batch_of(member), 60.0)
    assert train_batch(batch_of(member), 60.0)
    work = tmp_path / "run" / "work"
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)


@pytest.mark.parametrize(("kind", "precision"), [("pissa", "32bit"), ("olora", "nf4")])
def test_it_begins_as_pefts_own_without_changing_the_base(nano, tmp_path, kind, precision):
    recipe = settings(tmp_path, initialisation=kind)
    ours, plain = attach_new_adapter(load_base(MODEL, precision), recipe, 1), load_base(MODEL, precision)
    theirs = get_peft_model(
        load_base(MODEL, precision),
        LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=kind),
    )
    expected = trainable_parameters(theirs)
    begun = trainable_parameters(ours)
    assert begun.keys() == expected.keys()
    for name, weight in begun.items():
        assert torch.allclose(weight, expected[name], atol=1e-5), name
    some = rows("validation")
    assert direct_loss(ours, some) == pytest.approx(direct_loss(plain, some), rel=1e-5)
    for layer, base in zip(ours.base_model.model.model.layers, plain.model.layers, strict=True):
        assert torch.equal(layer.mlp.up_proj.base_layer.weight, base.mlp.up_proj.weight)


def test_what_an_adapter_begins_with_is_found_out_once(nano, tmp_path):
    # Another machine rounds otherwise, and a singular vector may come with the other sign.
    recipe, file = settings(tmp_path, initialisation="pissa"), tmp_path / "work" / "begun.safetensors"
    first = trainable_parameters(attach_new_adapter(load_base(MODEL, "32bit"), recipe, 1, begun=file))
    found = load_file(file)
    lora.save_file({name: -matrix for name, matrix in found.items()}, file)
    again = trainable_parameters(attach_new_adapter(load_base(MODEL, "32bit"), recipe, 1, begun=file))
    assert all(torch.equal(again[name], -weight) for name, weight in first.items())


def test_b_learns_faster_with_loraplus(nano, tmp_path):
    one = {"max_steps": 1, "evaluations": 1, "schedule": "constant"}
    largest = {}
    for ratio in (1, 16):
        weights = load_file(train(tmp_path / str(ratio), loraplus=ratio, **one) / "adapter/adapter_model.safetensors")
        # B is 0 at first, and Adam's first step is as long as the learning rate.
        largest[ratio] = max(tensor.abs().max() for name, tensor in weights.items() if "lora_B" in name)
    assert largest[1] == pytest.approx(5e-3, rel=1e-3)
    assert largest[16] == pytest.approx(16 * 5e-3, rel=1e-3)


def test_further_settings_reach_transformers_and_peft(nano, tmp_path):
    further = {
        "schedule": "cosine_with_min_lr",
        "training_arguments": {
            "lr_scheduler_kwargs": {"min_lr_rate": 0.5}, "adam_beta1": 0.0, "neftune_noise_alpha": 5,
        },
        "target_modules": ["q_proj", "v_proj", "o_proj"],
        "lora_config": {"layers_to_transform": [1], "rank_pattern": {"q_proj": 2}, "exclude_modules": ["v_proj"]},
    }  # fmt: skip
    work = train(tmp_path / "run", **further, **SHORT)
    rates = [line["learning_rate"] for line in records(work) if "loss" in line]
    assert min(rates) > 0.5 * max(rates) == 2.5e-3
    weights = load_file(work / "adapter" / "adapter_model.safetensors")
    assert all("layers.1." in name and "v_proj" not in name for name in weights)
    assert {len(tensor) for name, tensor in weights.items() if "q_proj.lora_A" in name} == {2}
    quiet = train(
        tmp_path / "quiet", **(further | {"training_arguments": {"lr_scheduler_kwargs": {"min_lr_rate": 0.5}}}), **SHORT
    )
    assert records(quiet)[0]["loss"] != records(work)[0]["loss"]


def test_what_the_libraries_refuse_is_told_once(nano, tmp_path):
    members = {
        "optimizer": train_member(tmp_path / "optimizer", training_arguments={"adam_beta2": 1.5}),
        "arguments": train_member(tmp_path / "arguments", training_arguments={"dataloader_prefetch_factor": 2}),
        "lora": train_member(tmp_path / "lora", lora_config={"layers_pattern": "layers"}),
        "rank": train_member(tmp_path / "rank", initialisation="olora", rank=65),
    }
    assert train_batch(batch_of(*members.values()), 60.0)
    reasons = {name: json.loads((tmp_path / name / "work" / "failed.json").read_text())["reason"] for name in members}
    assert "lora_config" in reasons["lora"]
    assert reasons["optimizer"].startswith(
        "training_arguments (adam_beta2): the training cannot begin with it: Invalid"
    )
    assert "rank 65 is larger than model.layers.0.self_attn.q_proj" in reasons["rank"]
    assert "training_arguments (dataloader_prefetch_factor): transformers does not take" in reasons["arguments"]
