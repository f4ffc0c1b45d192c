"""One base for all members of a job: each is trained to the same bytes as alone, whatever was trained before it."""

import pytest
import torch
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
    train_member,
)  # fmt: skip

from loragrid.modeling import lend
from loragrid.modeling.lend import Lender
from loragrid.training.train import train_batch

SHORT = {"max_steps": 2, "evaluations": 1}

KINDS = {
    "plain": {},
    "diverges": {"learning_rate": 1e20, "max_steps": 6},
    "refused": {"rank": 512},
    "dora": {"dora": True},
    "bias": {"lora_config": {"bias": "lora_only"}},
    "checkpointing": {"gradient_checkpointing": "on"},
    "some layers": {"target_modules": ["q_proj", "v_proj"], "dropout": 0.1},
    "olora": {"initialisation": "olora"},
}
"""By what each changes of a base: layers, weights, biases, flags. Some are refused, at once or in the midst of it."""


@pytest.fixture
def loads(monkeypatch):
    """Counts how often a base is loaded."""
    seen, load_base = [], lend.load_base

    def counted(*which):
        seen.append(which)
        return load_base(*which)

    monkeypatch.setattr(lend, "load_base", counted)
    return seen


def trained(*members):
    train_batch(batch_of(*members), 60.0)
    return {member.run.name: adapter(member.work) if (member.work / "adapter").exists() else None for member in members}


def member_of(folder, kind, precision):
    return train_member(folder / kind.replace(" ", "-"), precision=precision, **(SHORT | KINDS[kind]))


@pytest.mark.parametrize("precision", ["nf4", "16bit"])
def test_one_after_the_other_is_as_each_alone(nano, tmp_path, loads, precision, monkeypatch):
    if precision == "16bit":  # on a CPU, too: accelerate then puts a `forward` of its own on the model
        monkeypatch.setattr("loragrid.modeling.load.compute_dtype", lambda: torch.bfloat16)
    one_by_one = {}
    for kind in KINDS:
        one_by_one |= trained(member_of(tmp_path / "alone", kind, precision))
    assert len(loads) == len(KINDS)
    loads.clear()
    assert trained(*(member_of(tmp_path / "together", kind, precision) for kind in KINDS)) == one_by_one
    assert one_by_one["diverges"] is one_by_one["refused"] is None
    assert one_by_one["plain"] is not None
    # Of all these only what has changed weights of the base makes the next one load it again.
    assert len(loads) <= 2


def test_a_base_that_has_grown_by_a_token_is_not_lent_again(nano, tmp_path, loads):
    add_end_tokens()
    turns = {"model_folder": TIED, "formatted_folder": TURNS, "chat": TURNS_CHAT}

    def members(folder):
        return [train_member(folder / name, **SHORT, **turns) for name in ("first", "second")]

    alone = {}
    for member in members(tmp_path / "alone"):
        alone |= trained(member)
    loads.clear()
    assert trained(*members(tmp_path / "together")) == alone
    assert len(set(alone.values())) == 1


def test_sft_and_dpo_and_a_stack_after_each_other(nano, tmp_path, loads):
    add_pairs()
    (parent,) = (train_member(tmp_path / "parent", **SHORT),)
    trained(parent)
    preferring = {"objective": "dpo", "beta": 0.5, "formatted_folder": PAIRS, "parent": parent.run.folder} | SHORT
    compared = compare(tmp_path / "compared", parent)

    def members(folder):
        return [
            train_member(folder / "stacked", adapter="stack", compared_with=compared, **preferring),
            train_member(folder / "continued", adapter="continue", compared_with=compared, **preferring),
            train_member(folder / "plain", **SHORT),
        ]

    alone = {}
    for member in members(tmp_path / "alone"):
        alone |= trained(member)
    loads.clear()
    assert trained(*members(tmp_path / "together")) == alone
    assert None not in alone.values()
    assert len(loads) == 1


def test_weights_that_somebody_has_changed_are_loaded_again(nano, loads):
    lender = Lender()
    first = lender.base(MODEL, "32bit")
    assert lender.base(MODEL, "32bit") is first
    with torch.no_grad():
        first.lm_head.weight[3, 5] += 1e-6
    second = lender.base(MODEL, "32bit")
    assert second is not first
    assert len(loads) == 2
    assert lender.base(MODEL, "nf4").config is not second.config
    assert len(loads) == 3
