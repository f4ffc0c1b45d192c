"""A nano Llama and a little data, made once: what the tests of training, modelling and generation work on."""

import functools
import json
import os
import random
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from objects import CHAT, OWN_CHAT, make_batch, make_log_probabilities, make_model, make_run
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer

from loragrid.data.format import format_dataset
from loragrid.files import write_json, write_jsonl
from loragrid.jobs.stop import Stop
from loragrid.modeling import load, lora
from loragrid.modeling.build import build_model
from loragrid.study.members import Compared, CompareMember, TrainMember, plain
from loragrid.study.recipe import Recipe
from loragrid.study.schema.models import Build
from loragrid.training import arguments
from loragrid.training.references import reference_batch
from loragrid.training.train import train_batch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch.set_num_threads(1)

MODEL, CLEAN, FORMATTED = "data/models/nano", "data/clean/inline", "data/formatted/nano/inline"
TIED, TURNS = "data/models/tied", "data/formatted/nano/turns"
PAIRS, PAIRS_CLEAN = "data/formatted/nano/pairs", "data/clean/pairs"
PREFERENCE = {"name": "preference", "version": 1, "options": {}}
"""The format of pairs, resolved."""

TURNS_CHAT = OWN_CHAT | {"template": "turns.jinja", "end_token": "train"}
"""A chat whose end of turn is no token of the model's, and becomes one."""

WHO = ["my dog", "my sister", "the old car", "our neighbour", "a friend of mine", "the new boss"]
DID = ["ran away", "came home", "made me laugh", "broke down", "forgot my birthday", "won a prize"]
SAID = ["That must have been hard.", "How lovely to hear!", "Tell me more.", "I would feel the same."]


def dialogue(number):
    """A dialogue of one to three rounds, so that rows differ in length."""
    draw = random.Random(number)
    messages = []
    for _ in range(draw.randint(1, 3)):
        messages.append({"role": "user", "content": f"Today {draw.choice(WHO)} {draw.choice(DID)}."})
        messages.append({"role": "assistant", "content": draw.choice(SAID)})
    return {"id": f"d{number}", "messages": messages, "meta": {}}


def build_settings(**changes):
    small = {"vocabulary": 400, "hidden": 64, "layers": 2, "heads": 4, "context": 128, "steps": 60, "sequence": 32}
    return Build(**({"corpus": "corpus.jsonl"} | small | changes)).model_dump()


@functools.cache
def workshop():
    """A folder with the model, the data and the formatted rows, for the whole session."""
    root = Path(tempfile.mkdtemp(prefix="nano-"))
    write_jsonl(root / "corpus.jsonl", (dialogue(number) for number in range(1000, 1200)))
    build_model(root / MODEL, "k" * 64, root / "corpus.jsonl", build_settings())
    for split, numbers in {"train": range(30), "validation": range(100, 107), "test": range(200, 207)}.items():
        write_jsonl(root / CLEAN / f"{split}.jsonl", map(dialogue, numbers))
    settings = {"format_": CHAT, "chat": OWN_CHAT, "mask": "answers", "max_length": 96}
    format_dataset(root / CLEAN, root / MODEL, root / FORMATTED, key="f" * 64, **settings)
    return root


@functools.cache
def add_end_tokens():
    """What runs with `end_token: train` need: rows, and a model whose head is its embedding, with rows to spare."""
    root = workshop()
    (root / TURNS_CHAT["template"]).write_text(
        "{% for m in messages %}{{ '<start_of_turn>' + m.role + '\n' + m.content + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>assistant\n' }}{% endif %}"
    )
    model = AutoModelForCausalLM.from_pretrained(root / MODEL, tie_word_embeddings=True)
    model.tie_weights()
    model.resize_token_embeddings(400, mean_resizing=False)
    shutil.copytree(root / MODEL, root / TIED)
    model.save_pretrained(root / TIED)
    before = Path.cwd()
    os.chdir(root)
    settings = {"format_": CHAT, "chat": TURNS_CHAT, "mask": "answers", "max_length": 96}
    format_dataset(Path(CLEAN), Path(MODEL), Path(TURNS), key="t" * 64, **settings)
    os.chdir(before)


@functools.cache
def add_pairs():
    """What runs by DPO are trained on: of two answers the rude one is the worse."""
    root = workshop()
    for split, numbers in {"train": range(30), "validation": range(100, 107)}.items():
        write_jsonl(root / PAIRS_CLEAN / f"{split}.jsonl", map(pair, numbers))
    settings = {"format_": PREFERENCE, "chat": OWN_CHAT, "mask": "answers", "max_length": 96}
    format_dataset(root / PAIRS_CLEAN, root / MODEL, root / PAIRS, key="p" * 64, **settings)


def pair(number):
    *messages, answer = dialogue(number)["messages"]
    rude = random.Random(number).choice(["I do not care.", "So what?", "Whatever you say."])
    return {
        "id": f"p{number}",
        "messages": messages,
        "chosen": answer["content"],
        "rejected": rude,
        "meta": {},
    }


def compare(folder, parent=None, precision="nf4", micro_batch=8, formatted_folder=PAIRS):
    """Compute what runs by DPO are compared with; a member's `compared_with`.

    Args:
        folder: to write.
        parent: member of the parent's batch; None for the untrained model.
        precision: of the base.
        micro_batch: rows at a time.
        formatted_folder: the pairs.
    """
    found = make_log_probabilities(
        id=os.path.relpath(folder, "results/log_probabilities"),
        precision=precision,
        formatted=named_from("data/formatted", formatted_folder),
        run=parent and parent.run.folder,
    )
    model = base_model(MODEL, micro_batch=micro_batch)
    member = CompareMember(found, model, parent and parent.run)
    assert reference_batch(batch_of(member, stage="log_probabilities"))
    return Compared(found.file, found.key)


@pytest.fixture(scope="session")
def nano_root():
    yield workshop()
    if workshop.cache_info().currsize and not os.environ.get("KEEP_NANO"):
        shutil.rmtree(workshop(), ignore_errors=True)
        workshop.cache_clear()


@pytest.fixture
def nano(nano_root, monkeypatch):
    """The root folder, as the current one: models and data are named by relative paths, as in the workflow."""
    monkeypatch.chdir(nano_root)
    return nano_root


def named_from(start, folder):
    """A folder as an id below another one, wherever it lies."""
    Path(start).mkdir(parents=True, exist_ok=True)  # a path leads through it
    return os.path.relpath(folder, start)


def base_model(folder=MODEL, **changes):
    """A model by its folder."""
    return make_model(id=named_from("data/models", folder), **changes)


def train_member(
    folder,
    *,
    parent=None,
    seed=42,
    micro_batch=8,
    precision="nf4",
    label=None,
    sharded=False,
    gradient_checkpointing="auto",
    model_folder=MODEL,
    formatted_folder=FORMATTED,
    chat=OWN_CHAT,
    compared_with=None,
    **recipe,
):
    """A run as a train batch holds it; its recipe is 12 steps (three epochs of 30 rows) unless changed."""
    defaults = {"rank": 4, "alpha": 8, "learning_rate": 5e-3, "batch_size": 8, "epochs": 3, "evaluations": 3}
    own = {
        "label": label, "precision": precision, "seed": seed, "parent": parent, "chat": chat, "folder": str(folder),
        "formatted": named_from("data/formatted", formatted_folder),
    }  # fmt: skip
    computed = {"micro_batch": micro_batch, "sharded": sharded, "gradient_checkpointing": gradient_checkpointing}
    return TrainMember(
        run=make_run(defaults | recipe, **own),
        model=base_model(model_folder, **computed),
        preflight_file="data/preflight/none.json",
        parent_key=make_run().key if parent else None,
        compared_with=compared_with,
    )


def batch_of(*members, stage="train"):
    return make_batch(*members, stage=stage)


def train(folder, checkpoint_minutes=60.0, **recipe):
    """Train one run to its end; its work folder."""
    assert train_batch(batch_of(train_member(folder, **recipe)), checkpoint_minutes)
    work = Path(folder, "work")
    assert (work / "run.json").exists(), (work / "failed.json").read_text()
    return work


GREEDY = {"max_new_tokens": 10, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
SAMPLING = GREEDY | {"temperature": 1.2, "top_p": 0.95, "top_k": 40, "repetition_penalty": 1.1}
"""Ways of decoding."""

SIX = [
    {},
    {"r": 16, "target_modules": "all-linear"},
    {"r": 9, "use_rslora": True, "target_modules": ["down_proj", "k_proj"]},
    {"r": 2, "target_modules": ["o_proj"]},
    {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 2}},
    {"layers_to_transform": [1], "target_modules": ["gate_proj", "up_proj"]},
]
"""Fields of LoraConfig of six adapters."""


def write_adapter(folder, seed, model_folder=MODEL, **config):
    """An adapter with random weights, large enough to be heard, as a training saves it."""
    torch.manual_seed(seed)
    fields = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    model = get_peft_model(load.load_base(str(model_folder), "32bit"), LoraConfig(**(fields | config)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    lora.save(model, Recipe(), folder, str(model_folder))
    return folder


def write_six(place, model_folder=MODEL):
    """Six adapters of different kinds, in folders of their own."""
    return [write_adapter(place / f"{n}", n, model_folder, **config) for n, config in enumerate(SIX)]


def adapter(work):
    return (work / "adapter" / "adapter_model.safetensors").read_bytes()


def records(work):
    return [json.loads(line) for line in (work / "training.jsonl").read_text().splitlines()]


def rows(split, folder=FORMATTED):
    return list(Dataset.from_file(f"{folder}/{split}.arrow"))


def direct_loss(model, some):
    """Mean cross-entropy over the labelled tokens of rows, one row at a time and with torch alone."""
    total, count = 0.0, 0
    model.eval()
    for row in some:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, :-1].double()
        losses = torch.nn.functional.cross_entropy(logits, labels[1:], ignore_index=-100, reduction="none")
        total, count = total + losses.sum().item(), count + int((labels[1:] != -100).sum())
    return total / count


def gradients_on_a_t4(patch, trainer, member):
    """Dtype and gradient of each trained weight after one backward pass in fp16, without a GPU.

    TRL has cast the adapter of a 4-bit base to bf16 by then, whose gradients fp16's scaler cannot scale.
    """
    for module in (load, arguments):
        patch.setattr(module, "compute_dtype", lambda: torch.float16)
    seen = {}

    def one_step(self, *_, **__):
        assert (self.args.fp16, self.accelerator.mixed_precision) == (True, "fp16")
        model = self.accelerator.prepare(self.model)
        self.current_gradient_accumulation_steps = 1
        self.training_step(model, next(iter(self.get_train_dataloader())))
        seen.update({name: (weight.dtype, weight.grad) for name, weight in self.run.adapter.items()})
        raise InterruptedError

    patch.setattr(trainer, "train", one_step)
    train_batch(batch_of(member), 60.0)
    assert seen, (member.work / "attempt-1.log").read_text()
    return seen


def assert_float32(seen):
    """See that weights and gradients are, and that there is something to learn."""
    for name, (dtype, gradient) in seen.items():
        assert dtype == gradient.dtype == torch.float32, name
        assert torch.isfinite(gradient).all(), name
    assert any(gradient.any() for _, gradient in seen.values())


def end_within_a_step(patch, passes):
    """Let this process be told to end after so many passes over a micro-batch."""
    step, done = Trainer.training_step, []

    def counted(self, *arguments, **keywords):
        out = step(self, *arguments, **keywords)
        done.append(1)
        if len(done) == passes:
            os.kill(os.getpid(), signal.SIGTERM)
        return out

    patch.setattr(Trainer, "training_step", counted)


def write_batch(file, *members, stage="train"):
    write_json(file, plain(batch_of(*members, stage=stage)))
    return file


def never():
    return Stop()


def interrupted():
    stop = Stop()
    stop.signalled = True
    return stop
