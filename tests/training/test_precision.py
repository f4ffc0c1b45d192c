"""Half precision without a GPU: what a T4, which has fp16 and no bf16, is given to train."""

import pytest
import torch
from nano import MODEL, assert_float32, gradients_on_a_t4, train_member
from trl import SFTTrainer

from loragrid.modeling import load
from loragrid.modeling.load import load_base
from loragrid.training import arguments as arguments_module
from loragrid.training.arguments import arguments


@pytest.fixture
def t4(monkeypatch):
    for module in (load, arguments_module):
        monkeypatch.setattr(module, "compute_dtype", lambda: torch.float16)


def test_it_computes_in_fp16_and_never_in_bf16(nano, t4, tmp_path):
    asked = arguments(train_member(tmp_path), 8, tmp_path, 12)
    assert (asked["fp16"], asked["bf16"]) == (True, False)
    base = load_base(MODEL, "nf4")
    assert base.model.embed_tokens.weight.dtype == torch.float16
    assert base.model.layers[0].mlp.up_proj.weight.quant_state.dtype == torch.float16
    assert {weight.dtype for weight in load_base(MODEL, "16bit").parameters()} == {torch.float16}


@pytest.mark.parametrize("more", [{}, {"dora": True}, {"method": "lora", "precision": "16bit"}])
def test_what_is_trained_and_its_gradients_are_float32(nano, tmp_path, monkeypatch, more):
    assert_float32(gradients_on_a_t4(monkeypatch, SFTTrainer, train_member(tmp_path / "run", **more)))
