"""Many families through training, likelihoods and answers, each with a tiny model of random weights."""

from pathlib import Path

import pytest
from architectures import FAMILIES, tokenizer, write_model
from nano import batch_of, dialogue, never, records, rows, train_member
from objects import CHAT, OWN_CHAT
from safetensors.torch import load_file

from loragrid.data.format import format_dataset
from loragrid.errors import UserError
from loragrid.files import write_jsonl
from loragrid.generation.answer import answer_prompts
from loragrid.generation.likelihood import reference_likelihoods
from loragrid.jobs.standing import Reporter
from loragrid.modeling.load import attach_adapter, load_base
from loragrid.modeling.tokenizer import load_chat
from loragrid.training.train import train_batch

pytestmark = pytest.mark.slow

NOBODY = Reporter(None)

DIALOGUES = 12
GREEDY = {"max_new_tokens": 4, "temperature": 0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("families")
    for split, first in {"train": 0, "validation": 100}.items():
        write_jsonl(folder / "clean" / f"{split}.jsonl", map(dialogue, range(first, first + DIALOGUES)))
    return folder


def prompts():
    """Each answer of the training dialogues, after what was said before it."""
    for number in range(DIALOGUES):
        messages = dialogue(number)["messages"]
        for index in range(1, len(messages), 2):
            reference = messages[index]["content"]
            id_ = f"{number}#{index}"
            yield {"id": id_, "dialogue": str(number), "messages": messages[:index], "reference": reference}


@pytest.mark.parametrize("family", FAMILIES)
def test_training_likelihoods_and_answers(family, place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    folder, formatted = write_model(tmp_path / "model", family), place / "formatted"
    if not formatted.exists():
        format_dataset(
            Path("clean"), folder, formatted, key="f" * 64, format_=CHAT, chat=OWN_CHAT, mask="answers", max_length=256
        )
    method, precision = ("lora", "32bit") if family == "mamba" else ("qlora", "nf4")
    member = train_member(
        tmp_path / "run", model_folder=str(folder), formatted_folder=str(formatted), method=method, precision=precision,
        batch_size=DIALOGUES, micro_batch=DIALOGUES, max_steps=2, evaluations=1, rank=2,
    )  # fmt: skip
    assert train_batch(batch_of(member), 60)
    work = tmp_path / "run" / "work"
    assert (work / "run.json").exists(), (work / "attempt-1.log").read_text()[-3000:]

    # Everything that is adapted has learnt: no adapter is read past, or on a tower that sees nothing.
    weights = load_file(work / "adapter" / "adapter_model.safetensors")
    assert all(weight.any() for name, weight in weights.items() if "lora_B" in name)

    # One beginning, in rows and prompts.
    chat, begin = load_chat(str(folder), OWN_CHAT), tokenizer().bos_token_id
    asked = list(prompts())
    for ids in (*(row["input_ids"] for row in rows("train", formatted)), *(chat.prompt(p["messages"]) for p in asked)):
        assert (ids[0], ids.count(begin)) == (begin, 1)

    # The first step is over all rows, before anything is learnt.
    base = load_base(str(folder), precision).eval()
    items, excluded = reference_likelihoods(base, chat, asked, 4, never(), NOBODY)
    assert not excluded
    likelihood = sum(item["nats"] for item in items) / sum(item["tokens"] for item in items)
    assert records(work)[0]["loss"] == pytest.approx(likelihood, rel=1e-5)

    tuned = attach_adapter(base, work / "adapter").eval()
    assert reference_likelihoods(tuned, chat, asked, 4, never(), NOBODY)[0] != items
    out = tmp_path / "generations.jsonl"
    settings = {"decoding": GREEDY, "seed": 0, "batch_size": 4, "stop": never(), "reporter": NOBODY, "about": {}}
    answer_prompts(tuned, chat, asked, out, **settings)
    assert len(out.read_text().splitlines()) == len(asked)


def test_four_bits_are_refused_where_weights_are_read_as_they_are(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    with pytest.raises(UserError, match="precision nf4: mamba reads the weights of dt_proj, out_proj, x_proj as they"):
        load_base(str(write_model(tmp_path / "model", "mamba")), "nf4")
