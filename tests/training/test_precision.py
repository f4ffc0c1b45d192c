"""Half precision without a GPU: what a T4, which has fp16 and no bf16, is given to train."""

import pytest
import torch
from nano import MODEL, batch_of, train_member
from trl import SFTTrainer

from loragrid.modeling import load
from loragrid.modeling.load import load_base
from loragrid.training import arguments as arguments_module
from loragrid.training.arguments import arguments
from loragrid.training.train import train_batch


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
def test_what_is_trained_and_its_gradients_are_float32(nano, t4, tmp_path, monkeypatch, more):
    seen = {}

    def one_step(self, *_, **__):
        # TRL has cast the adapter of a 4-bit base to bf16 by now, whose gradients fp16's scaler cannot scale.
        assert (self.args.fp16, self.accelerator.mixed_precision) == (True, "fp16")
        model = self.accelerator.prepare(self.model)
        self.current_gradient_accumulation_steps = 1
        self.training_step(model, next(iter(self.get_train_dataloader())))
        seen.update({name: (weight.dtype, weight.grad) for name, weight in self.run.adapter.items()})
        raise InterruptedError

    monkeypatch.setattr(SFTTrainer, "train", one_step)
    train_batch(batch_of(train_member(tmp_path / "run", **more)), 60)
    assert seen, (tmp_path / "run" / "work" / "attempt-1.log").read_text()
    for name, (dtype, gradient) in seen.items():
        assert dtype == gradient.dtype == torch.float32, name
        assert torch.isfinite(gradient).all(), name
    assert any(gradient.abs().max() > 0 for _, gradient in seen.values())
