"""Runs with `end_token: train`: what the template ends answers with becomes a token, whose rows are trained."""

import json
import os
import signal

import pytest
import torch
from nano import (
    MODEL,
    TIED,
    TURNS,
    TURNS_CHAT,
    adapter,
    add_end_tokens,
    base_model,
    batch_of,
    dialogue,
    direct_loss,
    records,
    rows,
    train,
    train_member,
)
from objects import make_answers
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoTokenizer

from loragrid.files import read_json, read_jsonl, write_jsonl
from loragrid.generation.generate import generate_batch
from loragrid.modeling.load import attach_adapter, attach_new_adapter, load_base, trainable_parameters
from loragrid.modeling.tokenizer import load_chat
from loragrid.scoring.of_model import write_of_model
from loragrid.study.members import AnswerMember
from loragrid.training.records import Records
from loragrid.training.train import train_batch

HEAD, EMBEDDING = (
    f"base_model.model.{name}.token_adapter.trainable_tokens_delta" for name in ("lm_head", "model.embed_tokens")
)
# The head of one is its embedding, which has rows to spare; the other has neither.
KINDS = {MODEL: [HEAD, EMBEDDING], TIED: [EMBEDDING]}


def recipe(model):
    own = {"model_folder": model, "formatted_folder": TURNS, "chat": TURNS_CHAT}
    return own | {"dropout": 0.1, "keep": "best", "epochs": 6, "learning_rate": 2e-2}


@pytest.fixture(scope="module", params=KINDS)
def trained(request, nano_root, tmp_path_factory):
    add_end_tokens()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(nano_root)
        work = train(tmp_path_factory.mktemp("end") / "run", **recipe(request.param))
    return request.param, work


def saved(work):
    return load_file(work / "adapter" / "adapter_model.safetensors")


def test_the_rows_of_the_token_are_saved_with_the_adapter_and_no_others(nano, trained):
    model, work = trained
    kept = {name: tensor for name, tensor in saved(work).items() if "lora_" not in name}
    assert sorted(kept) == KINDS[model]
    settings = train_member(work, **recipe(model)).run.recipe
    begun = trainable_parameters(attach_new_adapter(load_base(model, "nf4"), settings, 42, 396))
    for name, row in kept.items():
        assert row.dtype == torch.float32
        assert (row - begun[f"{name}.default"]).norm() > 0.1 * row.norm()
    run = json.loads((work / "run.json").read_text())
    assert run["parameters"]["trainable"] == sum(tensor.numel() for tensor in saved(work).values())
    assert run["chat"]["end_token"] == "train"


def test_all_other_rows_are_the_bases(nano, trained):
    model, work = trained
    base, tuned = load_base(model, "nf4"), attach_adapter(load_base(model, "nf4"), work / "adapter")
    token = load_chat(model, TURNS_CHAT).added_token
    assert token == 396
    # Those of an adapter for answers are put into the base itself.
    for name, untouched, wrapped in [
        (EMBEDDING, base.get_input_embeddings(), tuned.get_input_embeddings()),
        (HEAD if model == MODEL else EMBEDDING, base.lm_head, tuned.get_output_embeddings()),
    ]:
        before, after = untouched.weight, wrapped.original_module.weight
        others = [row for row in range(len(before)) if row != token]
        assert torch.equal(after[others], before[others])
        assert torch.equal(after[token], saved(work)[name][0])
        assert len(after) == max(len(before), token + 1)


def test_the_validation_loss_is_that_of_the_loaded_adapter(nano, trained):
    model, work = trained
    best = json.loads((work / "run.json").read_text())["loss"]["best_validation"]
    tuned = attach_adapter(load_base(model, "nf4"), work / "adapter")
    assert best == pytest.approx(direct_loss(tuned, rows("validation", TURNS)), rel=1e-5)
    # Also where it is trained on.
    tuned = attach_adapter(load_base(model, "nf4"), work / "adapter", dropout=0.1)
    assert best == pytest.approx(direct_loss(tuned, rows("validation", TURNS)), rel=1e-5)


def test_peft_alone_loads_it_with_its_tokenizer(nano, trained):
    model, work = trained
    folder = work / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (row,) = load_chat(model, TURNS_CHAT).encode(dialogue(3)["messages"])
    text = tokenizer.apply_chat_template(dialogue(3)["messages"], tokenize=False)
    assert tokenizer(text)["input_ids"] == row.ids
    assert tokenizer.convert_ids_to_tokens(396) == "<end_of_turn>"
    # Over the base in 32 bits, which the folder names.
    ours = attach_adapter(load_base(model, "32bit"), folder)
    theirs = AutoPeftModelForCausalLM.from_pretrained(folder)
    losses = [direct_loss(tuned, rows("validation", TURNS)) for tuned in (ours, theirs)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_interrupted_and_resumed_it_is_the_same(nano, trained, tmp_path, monkeypatch):
    model, whole = trained
    add = Records.add

    def told(self, step, **values):
        add(self, step, **values)
        if step == 7 and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)

    member = train_member(tmp_path / "run", **recipe(model))
    with monkeypatch.context() as patch:
        patch.setattr(Records, "add", told)
        assert not train_batch(batch_of(member), 60.0)
    assert train_batch(batch_of(member), 60.0)
    work = tmp_path / "run" / "work"
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)


def test_a_child_goes_on_with_its_parents_rows(nano, trained, tmp_path):
    model, parent = trained
    still = {"learning_rate": 1e-12, "max_steps": 1, "evaluations": 1, "keep": "last"}
    child = train(tmp_path / "child", parent=str(parent.parent), **(recipe(model) | still))
    for name, tensor in saved(parent).items():
        assert torch.allclose(saved(child)[name], tensor, atol=1e-9), name
    assert saved(child).keys() == saved(parent).keys()


def test_answers_end_with_the_token_and_references_with_one_where_the_untrained_model_has_words(
    nano, trained, tmp_path
):
    model, work = trained
    prompts = [
        {"id": d["id"], "dialogue": d["id"], "messages": d["messages"][:-1], "reference": d["messages"][-1]["content"]}
        for d in map(dialogue, range(300, 308))
    ]
    write_jsonl(tmp_path / "prompts.jsonl", prompts)

    def ask(name, run, **chat):
        decoding = {"max_new_tokens": 24, "temperature": 0, "top_p": 1, "top_k": 0, "repetition_penalty": 1}
        answers = make_answers(decoding=decoding, folder=str(tmp_path / name), chat=TURNS_CHAT | chat)
        parts = {"generations": answers.generations, "likelihood": answers.score_file("likelihood")}
        asked, prompts = base_model(model, micro_batch=4), str(tmp_path / "prompts.jsonl")
        member = AnswerMember(answers, parts, asked, prompts, run, preflight_file="data/preflight/none.json")
        assert generate_batch(batch_of(member, stage="generate"), write_of_model)
        place = tmp_path / name / "work"
        return list(read_jsonl(place / "generations.jsonl")), read_json(place / "likelihood-llllllllll.json")["items"]

    answers, ours = ask("tuned", train_member(work.parent, **recipe(model)).run)
    assert {answer["ended"] for answer in answers} == {"stop"}
    assert not any("<" in answer["answer"] for answer in answers)
    _, theirs = ask("untrained", None, end_token="text")
    words = len(load_chat(model, TURNS_CHAT | {"end_token": "text"}).tokenizer("<end_of_turn>")["input_ids"])
    assert words > 1
    for one, other in zip(ours, theirs, strict=True):
        assert other["tokens"] - one["tokens"] == words - 1
        assert other["bytes"] == one["bytes"]
        assert other["nats"] > one["nats"]
