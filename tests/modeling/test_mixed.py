import json

import pytest
import torch
from architectures import write_model
from nano import MODEL, train, train_member, write_adapter
from safetensors.torch import load_file, save_file

from loragrid.errors import UserError
from loragrid.modeling import load
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.mixed import mixed, read_updates, why_alone

ADAPTERS = {
    "small": {},
    "large": {"r": 16, "target_modules": "all-linear"},
    "scaled": {"r": 9, "lora_alpha": 5, "use_rslora": True, "target_modules": ["down_proj", "k_proj"]},
    "patterns": {
        "target_modules": ["q_proj", "o_proj", "up_proj"],
        "rank_pattern": {"o_proj": 2, "layers.1.*q_proj": 6},
        "alpha_pattern": {"up_proj": 32},
    },
    "one-layer": {"layers_to_transform": [1], "exclude_modules": ["v_proj"]},
}
"""Fields of LoraConfig, by the adapter's name."""


@pytest.fixture(scope="module")
def folders(nano_root, tmp_path_factory):
    """The adapters over the nano model."""
    place = tmp_path_factory.mktemp("adapters")
    return {
        name: write_adapter(place / name, seed, nano_root / MODEL, **config)
        for seed, (name, config) in enumerate(ADAPTERS.items())
    }


def some_ids(rows, base, tokens=7):
    torch.manual_seed(1)
    return torch.randint(3, base.config.get_text_config().vocab_size, (rows, tokens))


def logits(model, ids):
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()


def alone(folder, ids, precision, model_folder=MODEL):
    base = load_base(str(model_folder), precision).eval()
    return logits(attach_adapter(base, folder).eval() if folder else base, ids)


def weights_of(base):
    """Every byte of a base, and what belongs to packed weights."""
    return {name: value.clone() for name, value in base.state_dict().items()}


@pytest.mark.parametrize(
    ("precision", "dtype", "off"),
    [
        ("32bit", torch.float32, 1e-4),
        ("nf4", torch.float32, 1e-4),
        ("16bit", torch.bfloat16, 0.1),
        ("nf4", torch.bfloat16, 0.1),
    ],
)
def test_each_row_is_as_with_its_adapter_alone_and_the_base_stays(nano, folders, monkeypatch, precision, dtype, off):
    monkeypatch.setattr(load, "compute_dtype", lambda: dtype)
    base = load_base(MODEL, precision).eval()
    before = weights_of(base)
    rows = [4, 0, 5, 2, 1, 3, 0, 5]
    ids = some_ids(len(rows), base)
    own = [*folders.values(), None]
    assert [why_alone(base, folder) for folder in folders.values()] == [None] * len(folders)
    untouched = logits(base, ids)
    with mixed(base, [folder and read_updates(base, folder) for folder in own]) as choose:
        choose(rows)
        together = logits(base, ids)
    for number, folder in enumerate(own):
        mine = [row for row, which in enumerate(rows) if which == number]
        expected = alone(folder, ids, precision)[mine]
        if folder:
            heard = (expected - untouched[mine]).abs().max()
            assert (together[mine] - expected).abs().max() < off * heard
        else:
            assert torch.equal(together[mine], expected)
    assert torch.equal(logits(base, ids), untouched)
    after = weights_of(base)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", ["gpt2", "gemma3", "qwen3", "phi3"])
def test_other_families(tmp_path, family):
    folder = write_model(tmp_path / "model", family)
    names = {"gpt2": ["c_attn", "c_proj"], "phi3": ["qkv_proj"]}.get(family, ["q_proj", "down_proj"])
    if family == "gemma3":
        names = r".*language_model.*\.(q_proj|down_proj)"
    base = load_base(str(folder), "32bit").eval()
    paths = [write_adapter(tmp_path / f"{rank}", rank, folder, r=rank, target_modules=names) for rank in (2, 8)]
    assert [why_alone(base, path) for path in paths] == [None, None]
    ids = some_ids(3, base)
    with mixed(base, [read_updates(base, path) for path in paths]) as choose:
        choose([1, 0, 1])
        together = logits(base, ids)
    expected = [alone(path, ids, "32bit", folder) for path in paths]
    assert torch.allclose(together, torch.stack([expected[1][0], expected[0][1], expected[1][2]]), atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-2


def test_stacks_and_adapters_that_began_with_the_base_can_be_mixed(nano, tmp_path):
    short = {"max_steps": 2, "evaluations": 1}
    train(tmp_path / "parent", **short)
    parent = train_member(tmp_path / "parent", **short).run
    works = [
        train(tmp_path / "stack", parent=str(parent.folder), adapter="stack", **short),
        train(tmp_path / "olora", initialisation="olora", **short),
        train(tmp_path / "pissa", initialisation="pissa", precision="32bit", method="lora", **short),
    ]
    base = load_base(MODEL, "32bit").eval()
    ids = some_ids(len(works), base)
    paths = [work / "adapter" for work in works]
    assert [why_alone(base, path) for path in paths] == [None] * 3
    with mixed(base, [read_updates(base, path) for path in paths]) as choose:
        choose(range(len(paths)))
        together = logits(base, ids)
    for row, path in enumerate(paths):
        assert torch.allclose(together[row], alone(path, ids, "32bit")[row], atol=1e-4)


def test_a_base_is_as_before_when_a_batch_broke_off(nano, folders):
    base = load_base(MODEL, "nf4").eval()
    ids = some_ids(2, base)
    untouched = logits(base, ids)

    def breaks_off():
        with mixed(base, [read_updates(base, folders["large"])]) as choose:
            choose([0, 0])
            assert not torch.equal(logits(base, ids), untouched)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    assert torch.equal(logits(base, ids), untouched)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"use_dora": True}, "its `use_dora` is more than products of matrices"),
        ({"bias": "lora_only"}, "its `bias` is more"),
        ({"lora_bias": True}, "its `lora_bias` is more"),
        ({"trainable_token_indices": [3]}, "its `trainable_token_indices` is more"),
        ({"modules_to_save": ["lm_head"]}, "its `modules_to_save` is more"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "it adapts model.embed_tokens, which is no linear layer"),
    ],
)
def test_what_cannot_be_mixed_is_told(nano, tmp_path, config, reason):
    folder = write_adapter(tmp_path / "adapter", 0, **config)
    assert why_alone(load_base(MODEL, "32bit").eval(), folder).startswith(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"peft_type": "LOHA"}, "it is no LoRA adapter, but LOHA"),
        ({"of_next_year": {"rate": 1}}, "its `of_next_year` is more"),
        ({"init_lora_weights": "pissa"}, "its base is changed, as `init_lora_weights: pissa` says"),
        ({"target_modules": "all-linear"}, "its `target_modules` do not name layers"),
    ],
)
def test_what_is_unknown_is_not_mixed(nano, tmp_path, changes, reason):
    folder = write_adapter(tmp_path / "adapter", 0)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    assert why_alone(load_base(MODEL, "32bit").eval(), folder).startswith(reason)


def test_layers_that_see_tokens_without_their_rows_are_told(tmp_path):
    folder = write_model(tmp_path / "model", "opt")
    adapter = write_adapter(tmp_path / "adapter", 0, folder, target_modules=["q_proj", "fc1"])
    reason = why_alone(load_base(str(folder), "32bit").eval(), adapter)
    assert reason == "model.decoder.layers.0.fc1 of opt is given tokens without the rows that they belong to"


def changed(folder, to, change):
    to.mkdir()
    (to / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
    save_file(change(load_file(folder / "adapter_model.safetensors")), to / "adapter_model.safetensors")
    return to


def renamed(weights):
    name = next(iter(weights))
    return {("renamed" if each == name else each): weight for each, weight in weights.items()}


def test_an_adapter_that_is_not_this_bases_is_refused_by_name(nano, folders, tmp_path):
    base = load_base(MODEL, "nf4").eval()
    other = changed(folders["small"], tmp_path / "renamed", renamed)
    with pytest.raises(UserError, match=rf"{other}: the adapter does not fit its base: it lacks 1, .*has besides 1"):
        read_updates(base, other)
    lost = changed(folders["small"], tmp_path / "lost", lambda weights: dict(list(weights.items())[1:]))
    with pytest.raises(UserError, match=rf"{lost}: .*it lacks 1, first base_model.model.model.layers.0"):
        read_updates(base, lost)
    wide = changed(
        folders["small"], tmp_path / "wide", lambda weights: {n: torch.cat([w, w], dim=-1) for n, w in weights.items()}
    )
    with pytest.raises(UserError, match=rf"{wide}: does not fit llama: .*lora_A.weight is 4 × 128, and 4 × 64 is"):
        read_updates(base, wide)
