"""The gradient of a step is that of the mean over what its effective batch holds, however that is cut up."""

import math

import pytest
import torch
from nano import MODEL, PAIRS, add_pairs, batch_of, compare, rows, train_member
from peft import PeftModel
from safetensors.torch import load_file
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from loragrid.jobs.environment import stream
from loragrid.modeling.load import attach_new_adapter, load_base, trainable_parameters
from loragrid.training import sft
from loragrid.training.order import WholeTraining
from loragrid.training.preferences import SIDES
from loragrid.training.train import train_batch
from loragrid.training.trainer import _Steps

ONE = {"max_steps": 1, "evaluations": 1, "max_grad_norm": 1e9, "group_by_length": True}


@pytest.fixture
def gradients(nano, tmp_path, monkeypatch):
    """The gradients of the first step of a member."""

    def of(**settings):
        found = {}

        def seen(self, args, state, control, **_):
            found.update({name: weight.grad.clone() for name, weight in self.run.adapter.items()})

        monkeypatch.setattr(_Steps, "on_pre_optimizer_step", seen, raising=False)
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        assert train_batch(batch_of(train_member(folder, **ONE, **settings)), 60.0)
        assert found, (folder / "work/attempt-1.log").read_text()
        return found

    return of


def first_batch(some, key):
    lengths = [row["length"] for row in some]
    order = WholeTraining(lengths, 8, 1, f"{key}:{stream(42, 'order')}", group=True)
    return [some[row] for row in order]


def new_model(member):
    return attach_new_adapter(load_base(MODEL, "nf4"), member.run.recipe, 42)


def log_probabilities(model: PeftModel, ids, begin):
    """Of all tokens from a position on, given those before, in plain torch."""
    logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logits.gather(1, torch.tensor(ids)[1:, None])[begin - 1 :, 0]


def with_gradients_by_hand(folder, batch):
    """A model with the gradients of the mean over the answers' tokens, one row at a time."""
    model = new_model(train_member(folder))
    nats, tokens = 0.0, 0
    for row in batch:
        values = log_probabilities(model, row["input_ids"], 1)
        counted = torch.tensor(row["labels"])[1:] != -100
        nats, tokens = nats - values[counted].sum(), tokens + int(counted.sum())
    (nats / tokens).backward()
    return model


def assert_equal(found, model):
    expected = {name: weight.grad for name, weight in trainable_parameters(model).items()}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient.norm() == 0:  # B is 0 at the beginning, and so is what A learns
            assert found[name].norm() == 0, name
        else:
            assert (found[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("micro_batch", [8, 2, 1])
def test_of_answers_it_is_the_mean_over_their_tokens(gradients, tmp_path, micro_batch):
    found = gradients(micro_batch=micro_batch)
    batch = first_batch(rows("train"), "f" * 64)
    assert len({row["length"] for row in batch}) > 1
    assert_equal(found, with_gradients_by_hand(tmp_path, batch))


@pytest.fixture
def rows_in_one_sequence(monkeypatch):
    """As with FlashAttention, which a CPU has not: here another attention keeps the rows of a sequence apart."""
    shapes, collate = [], DataCollatorForLanguageModeling.torch_call

    def seen(collator, examples):
        batch = collate(collator, examples)
        shapes.append(tuple(batch["input_ids"].shape))
        return batch

    monkeypatch.setattr(sft, "keeps_rows_apart", lambda model: model.config._attn_implementation == "sdpa")
    monkeypatch.setattr(DataCollatorForLanguageModeling, "torch_call", seen)
    return shapes


@pytest.mark.parametrize("micro_batch", [8, 2])
def test_of_rows_in_one_sequence_without_flash_attention_it_is_the_same(
    gradients, rows_in_one_sequence, tmp_path, micro_batch
):
    found = gradients(micro_batch=micro_batch)
    batch = first_batch(rows("train"), "f" * 64)
    trained = rows_in_one_sequence[: 8 // micro_batch]
    assert all(number == 1 for number, _ in rows_in_one_sequence)
    assert sum(length for _, length in trained) == sum(row["length"] for row in batch)
    assert_equal(found, with_gradients_by_hand(tmp_path, batch))


@pytest.mark.parametrize("micro_batch", [16, 2])
def test_of_preferences_it_is_the_mean_over_pairs(gradients, tmp_path, micro_batch):
    add_pairs()
    compared_with = compare(tmp_path / "compared")
    found = gradients(micro_batch=micro_batch, objective="dpo", formatted_folder=PAIRS, compared_with=compared_with)
    pairs = rows("train", PAIRS)
    before = load_file(compared_with.file)
    for side in SIDES:
        for pair, value in zip(pairs, before[f"train.{side}"].tolist(), strict=True):
            pair[side] = value
    model = new_model(train_member(tmp_path))
    loss = 0.0
    batch = first_batch(pairs, "p" * 64)
    for pair in batch:
        begin = len(pair["prompt_ids"])
        now = [log_probabilities(model, pair["prompt_ids"] + pair[f"{side}_ids"], begin).sum() for side in SIDES]
        rewards = [0.1 * (value - pair[side]) for value, side in zip(now, SIDES, strict=True)]
        loss = loss - torch.nn.functional.logsigmoid(rewards[0] - rewards[1]) / len(batch)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-4)
    loss.backward()
    assert_equal(found, model)


@pytest.fixture
def as_on_a_gpu():
    """Operations without a repeatable form are only told of, as `set_up` has it where there is a GPU."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def test_gradients_are_made_where_no_operation_but_a_repeatable_one_is_allowed(gradients, as_on_a_gpu, monkeypatch):
    seen, step = [], sft.SFTTrainer.training_step

    def looked_at(self, *arguments):
        seen.append(torch.is_deterministic_algorithms_warn_only_enabled())
        return step(self, *arguments)

    monkeypatch.setattr(sft.SFTTrainer, "training_step", looked_at)
    gradients(micro_batch=4)
    assert seen
    assert not any(seen)
    assert torch.is_deterministic_algorithms_warn_only_enabled()  # answers are sampled with sums that have no such form


def test_an_operation_without_a_repeatable_form_is_used_all_the_same(gradients, as_on_a_gpu, monkeypatch, capfd):
    whole = gradients(micro_batch=4, dropout=0.1)
    step = sft.SFTTrainer.training_step

    def refused(self, *arguments):
        loss = step(self, *arguments)  # gradients are there, and dropout has drawn
        if not torch.is_deterministic_algorithms_warn_only_enabled():
            raise RuntimeError("some_op_cuda does not have a deterministic implementation, but you set …")
        return loss

    monkeypatch.setattr(sft.SFTTrainer, "training_step", refused)
    again = gradients(micro_batch=4, dropout=0.1)
    assert "not the same bytes each time: some_op_cuda does not" in capfd.readouterr().out
    assert all(torch.equal(again[name], gradient) for name, gradient in whole.items())
