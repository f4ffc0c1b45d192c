import shutil

import pytest
import torch
from architectures import write_model
from nano import MODEL, adapter, records, train, train_member
from safetensors.torch import load_file, save_file

from loragrid.errors import UserError
from loragrid.files import read_json, write_json
from loragrid.modeling import load
from loragrid.modeling.load import attach_adapter, attach_new_adapter, device, load_base, trainable_parameters

IDS = torch.arange(10, 30).view(2, 10)


def recipe(tmp_path, **changes):
    return train_member(tmp_path, **changes).run.recipe


def gradients(model):
    model.train()
    model.zero_grad()
    model(input_ids=IDS, labels=IDS).loss.backward()
    return {name: weight.grad.clone() for name, weight in trainable_parameters(model).items()}


def test_a_forward_pass_in_evaluation_mode_leaves_training_as_it_was(nano, tmp_path):
    # bitsandbytes packs NF4 weights for CPUs with AVX512-BF16 at the first such pass; through packed weights no
    # gradient flows.
    model = attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), 1)
    before = gradients(model)
    model.eval()
    with torch.no_grad():
        model(input_ids=IDS)
    after = gradients(model)
    for name, gradient in before.items():
        assert torch.equal(after[name], gradient), name


@pytest.mark.parametrize(("given", "own_job", "allowed", "refused"), [
    ("0,1", "1", "", True),
    ("0,1", "1", "1", False),
    ("0,1", "", "", False),  # a workstation
    ("", "1", "", False),  # a job that asked for none
    ("NoDevFiles", "1", "", False),
])  # fmt: skip
def test_a_job_whose_gpus_torch_cannot_use_does_not_go_on_with_the_cpu(given, own_job, allowed, refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name, value in {"CUDA_VISIBLE_DEVICES": given, "OWN_JOB": own_job, "ALLOW_CPU": allowed}.items():
        monkeypatch.setenv(name if name.startswith("CUDA") else f"LORAGRID_{name}", value)
    if refused:
        with pytest.raises(RuntimeError, match=r"was given GPU 0,1 on .*cannot use it"):
            device()
    else:
        assert device().type == "cpu"


def test_nf4_is_four_bits_and_close(nano):
    quantised, whole = load_base(MODEL, "nf4"), load_base(MODEL, "32bit")
    layer = quantised.model.layers[0].mlp.down_proj
    assert layer.weight.dtype == torch.uint8
    assert layer.weight.numel() * 2 == whole.model.layers[0].mlp.down_proj.weight.numel()
    with torch.no_grad():
        losses = [model.eval()(input_ids=IDS, labels=IDS).loss.item() for model in (quantised, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_a_new_adapter_is_float32_and_drawn_from_the_seed(nano, tmp_path):
    one, same, other = (
        trainable_parameters(attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), seed)) for seed in (1, 1, 2)
    )
    assert {weight.dtype for weight in one.values()} == {torch.float32}
    assert all(torch.equal(weight, same[name]) for name, weight in one.items())
    assert any(not torch.equal(weight, other[name]) for name, weight in one.items())


def test_target_modules(nano, tmp_path):
    few = trainable_parameters(
        attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path, target_modules=["q_proj"]), 1)
    )
    assert len(few) == 2 * 2
    assert all("q_proj" in name for name in few)
    every = trainable_parameters(attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), 1))
    assert len(every) == 2 * 2 * 7


def test_a_base_is_packed_the_same_wherever_it_lies(nano):
    here, host = (load_base(MODEL, "nf4", place).state_dict() for place in ("here", "host"))
    assert here.keys() == host.keys()
    assert all(torch.equal(tensor, host[name]) for name, tensor in here.items())


def test_a_model_too_big_for_its_gpus_together_is_refused(nano):
    with pytest.raises(UserError, match="give the model more `gpus`"):
        load_base(MODEL, "32bit", "divided")  # there is no GPU here, so all of it goes to the CPU


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded as a causal language model"):
        load_base(str(tmp_path), "32bit")


# -- rows of a token that the base does not know


def token_rows(model):
    return {name: weight for name, weight in trainable_parameters(model).items() if "trainable_tokens" in name}


def test_rows_of_an_added_token_begin_as_the_mean_and_a_base_grows_as_far_as_it_must(nano, tmp_path):
    base = load_base(MODEL, "nf4")
    matrices = [base.model.embed_tokens.weight.clone(), base.lm_head.weight.clone()]
    adapted = attach_new_adapter(base, recipe(tmp_path), 1, 398)
    grown = [base.get_input_embeddings().weight, base.lm_head.weight]
    for matrix, after, row in zip(matrices, grown, token_rows(adapted).values(), strict=True):
        assert len(after) == 399
        # Those between the last of the base and the new one are no word of any text.
        assert all(torch.allclose(new, matrix.mean(dim=0)) for new in (*after[len(matrix) :], row[0]))
    assert base.config.vocab_size == 399
    others = attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), 1)
    for name, weight in trainable_parameters(others).items():
        assert torch.equal(weight, trainable_parameters(adapted)[name]), name


def test_rows_are_float32_over_a_base_in_16_bits_and_stay_exact(nano, tmp_path, monkeypatch):
    monkeypatch.setattr(load, "compute_dtype", lambda: torch.bfloat16)
    adapted = attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), 1, 396)
    for row in token_rows(adapted).values():
        assert row.dtype == torch.float32
        row.data.normal_()
    adapted.save_pretrained(str(tmp_path), save_embedding_layers=False)
    loaded = attach_adapter(load_base(MODEL, "nf4"), tmp_path, dropout=0.0)
    assert loaded.get_base_model().lm_head.weight.dtype == torch.bfloat16
    for name, row in token_rows(loaded).items():
        assert torch.equal(row, token_rows(adapted)[name])
        assert not torch.equal(row, row.bfloat16().float())


def test_rows_beside_a_bias_of_the_head_are_refused(nano, tmp_path):
    base = load_base(MODEL, "32bit")
    base.lm_head.bias = torch.nn.Parameter(torch.zeros(396))
    with pytest.raises(UserError, match="the head of llama has a bias"):
        attach_new_adapter(base, recipe(tmp_path), 1, 396)


# -- adapters of another base


def saved_adapter(folder, tmp_path):
    attach_new_adapter(load_base(MODEL, "nf4"), recipe(tmp_path), 1).save_pretrained(
        str(folder), save_embedding_layers=False
    )
    return folder / "adapter_model.safetensors"


def test_an_adapter_with_a_renamed_key_is_refused_and_not_half_loaded(nano, tmp_path):
    weights = saved_adapter(tmp_path / "adapter", tmp_path)
    tensors = load_file(weights)
    name = next(name for name in tensors if "layers.1.mlp.up_proj.lora_B" in name)
    for changed, said in (
        ({name.replace("layers.1", "layers.7"): tensors[name]}, "it lacks 1, first .*layers.1.mlp.up_proj.*; it has "
         "besides 1, first .*layers.7"),
        ({}, "it lacks 1, first .*layers.1.mlp.up_proj"),
    ):  # fmt: skip
        save_file({other: tensors[other] for other in tensors if other != name} | changed, weights)
        with pytest.raises(UserError, match=f"does not fit its base: {said}"):
            attach_adapter(load_base(MODEL, "nf4"), weights.parent)


def test_an_adapter_of_other_shapes_is_refused(nano, tmp_path):
    weights = saved_adapter(tmp_path / "adapter", tmp_path)
    save_file({name: tensor[:, :2].contiguous() for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(UserError, match="does not fit llama: size mismatch"):
        attach_adapter(load_base(MODEL, "nf4"), weights.parent)


def test_a_folder_with_an_adapter_in_it_is_no_model(nano, tmp_path):
    shutil.copytree(MODEL, tmp_path / "both")
    saved_adapter(tmp_path / "both", tmp_path)
    with pytest.raises(UserError, match=r"adapter_config\.json: this is an adapter and no model"):
        load_base(str(tmp_path / "both"), "nf4")


def test_the_base_has_no_dropout_of_its_own(nano, tmp_path):
    for family in ("gpt2", "opt", "mpt"):
        model = load_base(str(write_model(tmp_path / family, family)), "32bit").train()
        ids = torch.arange(10, 30).view(1, 20)
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits), family


@pytest.fixture(scope="module")
def packed(nano_root, tmp_path_factory):
    """A checkpoint whose weights are NF4 already, as unsloth's `…-bnb-4bit` are, made where bf16 is computed in."""
    folder = tmp_path_factory.mktemp("packed") / "nano"
    load_base(str(nano_root / MODEL), "nf4").save_pretrained(folder)
    for file in (nano_root / MODEL).iterdir():
        if not (folder / file.name).exists() and file.suffix != ".safetensors":
            shutil.copy(file, folder)
    config = read_json(folder / "config.json")
    assert config["quantization_config"]["load_in_4bit"]
    config["quantization_config"]["bnb_4bit_compute_dtype"] = "bfloat16"
    write_json(folder / "config.json", config)
    return folder


def test_a_checkpoint_that_is_quantised_already_is_the_same_model(nano, packed):
    ours, theirs = load_base(MODEL, "nf4"), load_base(str(packed), "nf4")
    for one, other in zip(ours.model.layers, theirs.model.layers, strict=True):
        assert torch.equal(one.mlp.up_proj.weight, other.mlp.up_proj.weight)
    assert {layer.compute_dtype for layer in theirs.modules() if hasattr(layer, "compute_dtype")} == {torch.float32}
    with torch.no_grad():
        losses = [model.eval()(input_ids=IDS, labels=IDS).loss for model in (ours, theirs)]
    assert torch.equal(*losses)


def test_a_checkpoint_that_is_quantised_already_is_trained_to_the_same_adapter(nano, packed, tmp_path):
    short = {"epochs": 1, "evaluations": 1}
    one, other = train(tmp_path / "one", **short), train(tmp_path / "other", model_folder=str(packed), **short)
    assert adapter(one) == adapter(other)
    assert records(one) == records(other)


@pytest.mark.parametrize(("precision", "changes", "said"), [
    ("16bit", {}, "quantised to NF4 already, so it cannot be loaded in 16 bits: use `method: qlora`"),
    ("nf4", {"bnb_4bit_quant_type": "fp4"}, "bitsandbytes, 4 bits.*not NF4; name the whole model"),
    ("nf4", {"load_in_4bit": False, "load_in_8bit": True}, "bitsandbytes, 8 bits.*not NF4; name the whole model"),
    ("nf4", {"quant_method": "gptq", "load_in_4bit": None, "bits": 4}, "gptq, 4 bits.*not NF4; name the whole model"),
])  # fmt: skip
def test_other_quantised_checkpoints_are_refused(nano, packed, tmp_path, precision, changes, said):
    shutil.copytree(packed, tmp_path / "other")
    config = read_json(packed / "config.json")
    config["quantization_config"] |= changes
    write_json(tmp_path / "other" / "config.json", config)
    with pytest.raises(UserError, match=said):
        load_base(str(tmp_path / "other"), precision)
