"""Learning from preferences, on a nano model: what is compared with what, and that nothing but the recipe decides."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from nano import (
    MODEL,
    PAIRS,
    adapter,
    add_pairs,
    assert_float32,
    batch_of,
    compare,
    end_within_a_step,
    gradients_on_a_t4,
    records,
    rows,
    train,
    train_member,
    write_batch,
)  # fmt: skip
from peft import PeftModel
from safetensors.torch import load_file, save_file
from trl import DPOTrainer

from loragrid.files import read_json, sha256_of, write_json
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.standing import Reporter
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.study.members import Compared
from loragrid.training import references
from loragrid.training.records import Records
from loragrid.training.train import train_batch

STACK = {"adapter": "stack", "rank": 6, "alpha": 9, "target_modules": ["q_proj", "v_proj"]}
ADAPTERS = {"continue": {}, "stack": STACK}


class Setting:
    """A parent that was trained on dialogues, and what its children are compared with."""

    def __init__(self, folder, precision):
        add_pairs()
        self.precision = precision
        self.parent = train_member(folder / "parent", precision=precision, max_steps=6)
        assert train_batch(batch_of(self.parent), 60.0)
        self.compared_with = compare(folder / "compared", self.parent, precision)

    def member(self, folder, **changes):
        settings = {"objective": "dpo", "formatted_folder": PAIRS, "compared_with": self.compared_with}
        parent = self.parent.run.folder
        return train_member(folder, parent=parent, precision=self.precision, **(settings | changes))

    def train(self, folder, **changes):
        assert train_batch(batch_of(self.member(folder, **changes)), 60.0), Path(
            folder, "work/attempt-1.log"
        ).read_text()
        assert Path(folder, "work/run.json").exists(), Path(folder, "work/failed.json").read_text()
        return Path(folder, "work")


@pytest.fixture(scope="module")
def made(nano_root, tmp_path_factory):
    before = Path.cwd()
    os.chdir(nano_root)
    try:
        folder = tmp_path_factory.mktemp("preferences")
        setting = Setting(folder, "nf4")
        setting.works = {name: setting.train(folder / name, **changes) for name, changes in ADAPTERS.items()}
        return setting
    finally:
        os.chdir(before)


@pytest.fixture
def setting(nano, made):
    return made


def by_hand(model, pairs):
    """Log-probabilities of both answers, one at a time and with torch alone."""
    found = []
    for pair in pairs:
        found.append([])
        for side in ("chosen_ids", "rejected_ids"):
            ids = torch.tensor([pair["prompt_ids"] + pair[side]])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
            each = logits.gather(1, ids[0, 1:, None])[:, 0]
            found[-1].append(each[len(pair["prompt_ids"]) - 1 :].sum().item())
    return torch.tensor(found, dtype=torch.float64)


def compared(setting, split):
    found = load_file(setting.compared_with.file)
    return torch.stack([found[f"{split}.chosen"], found[f"{split}.rejected"]], dim=1).double()


def validations(work):
    return [line for line in records(work) if "validation_loss" in line]


# -- what is compared with


def test_it_is_the_parent_merged_into_an_unquantised_base(nano, tmp_path):
    setting = Setting(tmp_path, "32bit")
    merged = attach_adapter(load_base(MODEL, "32bit"), Path(setting.parent.run.folder, "work/adapter"))
    merged = merged.merge_and_unload().eval()
    for split in ("train", "validation"):
        assert torch.allclose(compared(setting, split), by_hand(merged, rows(split, PAIRS)), rtol=0, atol=1e-4)


def test_without_a_parent_it_is_the_untrained_model(nano, tmp_path):
    add_pairs()
    compared_with = compare(tmp_path / "compared")
    work = train(tmp_path / "run", objective="dpo", formatted_folder=PAIRS, compared_with=compared_with)
    first, *_, last = records(work)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert last["reward_margin"] > 0.1


def test_it_does_not_depend_on_how_many_go_at_a_time(setting, tmp_path):
    found = compare(tmp_path / "compared", setting.parent, micro_batch=2)
    ours, theirs = (load_file(each.file) for each in (found, setting.compared_with))
    assert all(torch.allclose(ours[name], theirs[name], rtol=1e-5) for name in theirs)


def test_killed_on_the_way_it_goes_on(setting, tmp_path, monkeypatch):
    reach = Reporter.reach

    def killed(self, done, loss=None):
        reach(self, done, loss)
        if done >= 12:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "reach", killed)
        with pytest.raises(KeyboardInterrupt):
            compare(tmp_path / "compared", setting.parent)
    growing = tmp_path / "compared/work/log_probabilities.part.jsonl"
    before = growing.read_text()
    with growing.open("a") as file:
        file.write('["train", 3')  # what a kill leaves
    counted = []
    monkeypatch.setattr(Reporter, "begin", lambda self, what, done, total: counted.append((what, done, total)))
    found = compare(tmp_path / "compared", setting.parent)
    assert counted == [("pairs", 12, 37)]
    assert len(before.splitlines()) == 1 + 12
    assert Path(found.file).read_bytes() == Path(setting.compared_with.file).read_bytes()


def test_that_of_other_data_is_refused(setting, tmp_path):
    other = replace(setting.compared_with, key="m" * 64)
    assert train_batch(batch_of(setting.member(tmp_path / "run", compared_with=other)), 60.0)
    reason = read_json(tmp_path / "run/work/failed.json")["reason"]
    assert "was made of other data or by another model, or the parent was trained again since; delete" in reason


def test_that_of_a_parent_that_was_trained_again_is_refused(setting, tmp_path):
    parent = tmp_path / "parent"
    shutil.copytree(setting.parent.run.folder, parent)
    weights = parent / "work/adapter/adapter_model.safetensors"
    save_file({name: tensor + 1e-3 for name, tensor in load_file(weights).items()}, weights)
    run = read_json(parent / "work/run.json")
    (parent / "work/run.json").write_text(json.dumps(run | {"adapter_sha256": sha256_of(weights)}))
    member = setting.member(tmp_path / "run")
    member = replace(member, run=replace(member.run, parent=str(parent)))
    assert train_batch(batch_of(member), 60.0)
    reason = read_json(tmp_path / "run/work/failed.json")["reason"]
    assert f"the parent was trained again since; delete {tmp_path}" not in reason  # another place than the run's own
    assert "or the parent was trained again since; delete" in reason


def test_a_pair_that_does_not_fit_the_gpu_is_not_tried_for_ever(setting, tmp_path, monkeypatch):
    error = torch.OutOfMemoryError("CUDA out of memory (injected by this test)")
    monkeypatch.setattr(references, "log_probabilities_of", lambda *_: (_ for _ in ()).throw(error))
    work = tmp_path / "compared/work"
    for _ in range(2):  # two pairs at a time, then one
        with pytest.raises(AssertionError):
            compare(tmp_path / "compared", setting.parent, micro_batch=4)
        assert not (work / "failed.json").exists()
    compare(tmp_path / "compared", setting.parent, micro_batch=4)
    reason = read_json(work / "failed.json")["reason"]
    assert "a single pair does not fit the GPU's memory" in reason
    assert "It was tried 2 times" in reason


def test_pairs_that_the_model_cannot_read_are_told_before_it_is_loaded(setting, tmp_path):
    formatted = tmp_path / "formatted"
    shutil.copytree(PAIRS, formatted)
    write_json(formatted / "format.json", read_json(formatted / "format.json") | {"max_length": 999})
    compare(tmp_path / "compared", setting.parent, formatted_folder=str(formatted))
    reason = read_json(tmp_path / "compared/work/failed.json")["reason"]
    assert "max_length 999 is more than this llama can read" in reason


def test_if_it_failed_the_first_cause_counts(setting, tmp_path):
    cause = tmp_path / "parent/work/failed.json"
    work = tmp_path / "compared/work"
    for file, blocked_by in ((cause, None), (work / "failed.json", str(cause))):
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"reason": "the loss is nan", "blocked_by": blocked_by}))
    other = Compared(str(work / "log_probabilities.safetensors"), "l" * 64)
    assert train_batch(batch_of(setting.member(tmp_path / "run", compared_with=other)), 60.0)
    failure = read_json(tmp_path / "run/work/failed.json")
    assert failure["reason"] == "what it is compared with failed: the loss is nan"
    assert failure["blocked_by"] == str(cause)


# -- training


@pytest.mark.parametrize("name", ADAPTERS)
def test_it_begins_as_its_parent(setting, name):
    first = records(setting.works[name])[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for what in ("reward_chosen", "reward_rejected", "reward_margin"):
        assert first[what] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_better_answer_becomes_likelier(setting, name):
    first, *_, last = validations(setting.works[name])
    assert last["reward_margin"] > first["reward_margin"] > 0
    assert last["reward_accuracy"] == 1
    assert last["validation_loss"] < first["validation_loss"] < math.log(2)


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_recorded_is_what_the_saved_adapter_says(setting, name):
    """One adapter, over the untouched base, holds all: by hand its rewards are those of the last validation."""
    work = setting.works[name]
    model = PeftModel.from_pretrained(load_base(MODEL, "nf4"), str(work / "adapter")).eval()
    pairs = rows("validation", PAIRS)
    now, before = by_hand(model, pairs), compared(setting, "validation")
    rewards = 0.1 * (now - before)
    margins = rewards[:, 0] - rewards[:, 1]
    last = validations(work)[-1]
    expected = {
        "validation_loss": -torch.nn.functional.logsigmoid(margins).mean(),
        "reward_chosen": rewards[:, 0].mean(),
        "reward_rejected": rewards[:, 1].mean(),
        "reward_margin": margins.mean(),
        "reward_accuracy": (margins > 0).double().mean(),
        "log_probability_chosen": now[:, 0].mean(),
        "log_probability_rejected": now[:, 1].mean(),
    }
    assert {what: last[what] for what in expected} == pytest.approx(
        {what: value.item() for what, value in expected.items()}, abs=2e-5
    )


def test_a_stack_that_leaves_layers_out_is_read_as_it_was_validated(setting, tmp_path):
    """The adapter below it has them."""
    some = {"layers_to_transform": [1], "exclude_modules": ["model.layers.1.self_attn.v_proj"]}
    work = setting.train(tmp_path / "run", **STACK, lora_config=some)
    model = attach_adapter(load_base(MODEL, "nf4"), work / "adapter").eval()
    now = by_hand(model, rows("validation", PAIRS))
    assert validations(work)[-1]["log_probability_chosen"] == pytest.approx(now[:, 0].mean().item(), abs=2e-5)
    both = load_file(work / "adapter/adapter_model.safetensors")
    new = {name.split(".lora_B")[0] for name, weight in both.items() if ".lora_B" in name and weight[:, 4:].any()}
    assert new == {"base_model.model.model.layers.1.self_attn.q_proj"}


def test_nothing_is_stacked_over_dora(nano, tmp_path):
    parent = train_member(tmp_path / "parent", dora=True, max_steps=1, evaluations=1)
    child = train_member(tmp_path / "child", parent=str(tmp_path / "parent"), **STACK)
    assert train_batch(batch_of(parent), 60.0)
    assert train_batch(batch_of(child), 60.0)
    reason = read_json(tmp_path / "child/work/failed.json")["reason"]
    assert (
        "cannot be stacked over: DoRA changes the length of the base's weights, too; use `adapter: continue`" in reason
    )


def test_a_stacked_adapter_holds_its_parent_unchanged(setting):
    parent = load_file(Path(setting.parent.run.folder, "work/adapter/adapter_model.safetensors"))
    both = load_file(setting.works["stack"] / "adapter/adapter_model.safetensors")
    config = read_json(setting.works["stack"] / "adapter/adapter_config.json")
    assert (config["r"], config["lora_alpha"]) == (10, 10)
    scale = 8 / 4
    for name, weight in parent.items():
        ours = both[name]
        if ".lora_A." in name:
            assert torch.equal(ours[:4], weight)
        else:
            assert torch.equal(ours[:, :4], scale * weight)
            # Elsewhere than on q and v there is the parent alone.
            assert (ours[:, 4:] == 0).all() == (".q_proj." not in name and ".v_proj." not in name)


def test_the_model_card_says_what_it_learnt_from(setting):
    card = ModelCard.load(setting.works["stack"] / "adapter/README.md")
    assert card.data.tags == ["lora", "dpo", "loragrid"]
    assert "Losses are those of pairs of answers." in card.text
    assert "| goes on from | parent |" in card.text
    assert "| beta | 0.1 |" in card.text
    assert "| mask |" not in card.text


def test_a_stack_can_be_stacked_over(setting, tmp_path):
    member = setting.member(tmp_path / "run", max_steps=2, evaluations=1, **STACK)
    above = str(setting.works["stack"].parent)
    key = read_json(setting.works["stack"] / "run.json")["key"]
    parent = replace(member, run=replace(member.run, folder=above, key=key))
    compared_with = compare(tmp_path / "compared", parent)
    member = replace(member, run=replace(member.run, parent=above), compared_with=compared_with)
    assert train_batch(batch_of(member), 60.0)
    work = tmp_path / "run/work"
    assert records(work)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert read_json(work / "adapter/adapter_config.json")["r"] == 16


# -- exactness


@pytest.mark.parametrize("name", ADAPTERS)
def test_the_same_run_has_the_same_bytes(setting, tmp_path, name):
    again = setting.train(tmp_path / "run", **ADAPTERS[name])
    assert adapter(again) == adapter(setting.works[name])
    assert records(again) == records(setting.works[name])
    config = "adapter/adapter_config.json"
    assert (again / config).read_bytes() == (setting.works[name] / config).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sft", *ADAPTERS])
def test_another_process_writes_the_same_bytes(setting, tmp_path, name):
    """Sets of names come in another order in each, by the seed of its hashes."""
    works = []
    for seed in ("1", "2"):
        folder = tmp_path / seed / "run"
        some = {"target_modules": ["q_proj", "v_proj", "up_proj", "down_proj"], "max_steps": 1, "evaluations": 1}
        member = train_member(folder, **some)
        if name in ADAPTERS:
            own = {"target_modules": "all-linear"} if name == "continue" else {}
            member = setting.member(folder, **(some | ADAPTERS[name] | own))
        batch = write_batch(tmp_path / seed / "batch.json", member)
        command = [sys.executable, "-m", "loragrid", "train", str(batch)]
        done = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        works.append(folder / "work")
    for file in ("adapter_model.safetensors", "adapter_config.json", "README.md"):
        assert len({(work / "adapter" / file).read_bytes() for work in works}) == 1, file


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("step", [3, 4])  # in mid-epoch, and at its end
def test_interrupted_it_ends_as_the_same(setting, tmp_path, monkeypatch, name, step):
    recipe = ADAPTERS[name] | {"dropout": 0.1, "keep": "best", "max_steps": 6}
    whole = setting.train(tmp_path / "whole", **recipe)
    add, waiting = Records.add, [True]

    def added(self, at, **values):
        add(self, at, **values)
        if waiting and at == step:
            waiting.clear()
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Records, "add", added)
    member = setting.member(tmp_path / "run", **recipe)
    assert not train_batch(batch_of(member), 60.0)
    assert train_batch(batch_of(member), 60.0)
    work = tmp_path / "run/work"
    assert [attempt["ended"] for attempt in read_attempts(work)] == ["terminated", "finished"]
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)


@pytest.mark.parametrize("name", ADAPTERS)
def test_interrupted_within_a_step_it_ends_as_the_same(setting, tmp_path, monkeypatch, name):
    recipe = ADAPTERS[name] | {"dropout": 0.1, "max_steps": 4, "micro_batch": 4}
    whole = setting.train(tmp_path / "whole", **recipe)
    member = setting.member(tmp_path / "run", **recipe)
    with monkeypatch.context() as patch:
        end_within_a_step(patch, 4 * 2 + 3)
        assert not train_batch(batch_of(member), 60.0)
    assert train_batch(batch_of(member), 60.0)
    assert adapter(tmp_path / "run/work") == adapter(whole)
    assert records(tmp_path / "run/work") == records(whole)


@pytest.mark.parametrize("name", ADAPTERS)
def test_on_a_t4_what_is_trained_and_its_gradients_are_float32(setting, tmp_path, monkeypatch, name):
    assert_float32(gradients_on_a_t4(monkeypatch, DPOTrainer, setting.member(tmp_path / "run", **ADAPTERS[name])))


VARIANTS = {
    "olora": {"initialisation": "olora"},
    "dora": {"dora": True},
    "loraplus": {"loraplus": 8.0},
    "with biases": {"lora_config": {"lora_bias": True}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_each_kind_of_lora_learns_from_pairs(nano, tmp_path, name):
    add_pairs()
    own = {"objective": "dpo", "formatted_folder": PAIRS, "compared_with": compare(tmp_path / "compared")}
    work = train(tmp_path / "run", **own, **VARIANTS[name])
    assert records(work)[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    model = attach_adapter(load_base(MODEL, "nf4"), work / "adapter").eval()
    now = by_hand(model, rows("validation", PAIRS))
    last = validations(work)[-1]
    assert last["log_probability_chosen"] == pytest.approx(now[:, 0].mean().item(), abs=2e-5)
    assert last["reward_margin"] > 0


@pytest.mark.parametrize("micro_batch", [2, 16])
def test_the_micro_batch_changes_nothing_but_rounding(setting, tmp_path, micro_batch):
    work = setting.train(tmp_path / "run", micro_batch=micro_batch)
    assert read_json(work / "run.json")["micro_batch"] == micro_batch
    places = work, setting.works["continue"]
    ours, theirs = (load_file(place / "adapter/adapter_model.safetensors") for place in places)
    for name, weight in theirs.items():
        assert (ours[name] - weight).norm() <= 1e-3 * weight.norm(), name
    last, other = (validations(place)[-1] for place in places)
    assert last == pytest.approx(other, rel=1e-3)
