"""Preference pairs as rows for DPO, on a tokenizer made here."""

import json

import pytest
from datasets import Dataset
from objects import OWN_CHAT
from transformers import AutoTokenizer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from loragrid.data.fit import fitted_rows
from loragrid.data.format import format_dataset
from loragrid.data.pairs import EQUAL
from loragrid.errors import UserError
from loragrid.files import write_jsonl
from loragrid.modeling.build import train_tokenizer
from loragrid.modeling.chat import Chat, Encoded
from loragrid.modeling.templates import TEMPLATES
from loragrid.modeling.tokenizer import load_tokenizer

PREFERENCE = {"name": "preference", "version": 1, "options": {}}
QUESTION = [{"role": "user", "content": "Today my dog ran away."}]
TALK = [
    *QUESTION,
    {"role": "assistant", "content": "Tell me more."},
    {"role": "user", "content": "Today he came home."},
]


def pair(name, chosen, rejected, messages=QUESTION):
    return {"id": name, "messages": messages, "chosen": chosen, "rejected": rejected, "meta": {}}


DATA = {
    "train": [
        pair("a", "How lovely to hear!", "So what?", TALK),
        pair("b", "That must have been hard.", "I would feel the same. Tell me more."),
    ],
    "validation": [pair("c", "Tell me more.", "No.")],
}


ENDS = {
    "chatml": "<|im_end|>", "gemma": "<end_of_turn>", "llama-2": " </s>", "llama-3": "<|eot_id|>", "mistral": "</s>",
    "phi-3": "<|end|>", "plain": "</s>", "zephyr": "</s>",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    pairs = [record for records in DATA.values() for record in records]
    texts = [text for record in pairs for text in (record["chosen"], record["rejected"], "Today my dog ran away.")]
    tokenizer = train_tokenizer(texts, 300, 256)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def form(tmp_path, model):
    def form(train=DATA["train"], model=model, **changes):
        for split, records in {**DATA, "train": train}.items():
            write_jsonl(tmp_path / "clean" / f"{split}.jsonl", records)
        settings = {"key": "k", "format_": PREFERENCE, "mask": "answers", "max_length": 200, "chat": OWN_CHAT} | changes
        format_dataset(tmp_path / "clean", model, tmp_path / "out", **settings)
        rows = list(Dataset.from_file(str(tmp_path / "out" / "train.arrow")))
        form.decode = AutoTokenizer.from_pretrained(model).decode
        return rows, json.loads((tmp_path / "out" / "format.json").read_text())["splits"]["train"]

    return form


def test_the_prompt_stands_once_and_each_answer_with_the_token_that_ends_it(form):
    rows, counted = form()
    texts = [[form.decode(row[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids")] for row in rows]
    first = "<|im_start|>user\nToday my dog ran away.<|im_end|>\n<|im_start|>assistant\n"
    assert texts == [
        [
            f"{first}Tell me more.<|im_end|>\n<|im_start|>user\nToday he came home.<|im_end|>\n<|im_start|>assistant\n",
            "How lovely to hear!<|im_end|>",
            "So what?<|im_end|>",
        ],
        [first, "That must have been hard.<|im_end|>", "I would feel the same. Tell me more.<|im_end|>"],
    ]
    lengths = [
        [len(row["prompt_ids"]) + len(row[f"{answer}_ids"]) for answer in ("chosen", "rejected")] for row in rows
    ]
    assert [row["length"] for row in rows] == [max(both) for both in lengths]
    assert (counted["examples"], counted["rows"], counted["too_long"], counted["unusable"]) == (2, 2, 0, {})
    assert counted["tokens"] == sum(map(sum, lengths))
    assert counted["answer_tokens"] == sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
    assert counted["lengths"]["100%"] == counted["longest"] == max(map(max, lengths))
    for place, answer in enumerate(("chosen", "rejected")):
        assert counted[f"{answer}_lengths"]["100%"] == max(both[place] for both in lengths)
        assert sum(counted["histograms"][answer].values()) == 2


def test_an_answer_has_the_tokens_that_it_has_in_supervised_rows(form, model):
    rows, _ = form()
    chat = Chat(load_tokenizer(str(model)))
    for record, row in zip(DATA["train"], rows, strict=True):
        for answer in ("chosen", "rejected"):
            dialogue = [*record["messages"], {"role": "assistant", "content": record[answer]}]
            (supervised,) = fitted_rows(chat, dialogue, 200)
            ids = row["prompt_ids"] + row[f"{answer}_ids"]
            assert supervised.encoded.ids[: len(ids)] == ids
            assert not any(supervised.encoded.is_answer[len(ids) :])
            assert row["prompt_ids"] == chat.prompt(record["messages"])


def test_the_collator_of_trl_takes_the_rows(form):
    rows, _ = form()
    batch = DataCollatorForPreference(pad_token_id=0)([{k: v for k, v in row.items() if k != "length"} for row in rows])
    learnt = [
        form.decode(ids[mask.bool()]) for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    assert learnt == [f"{record[answer]}<|im_end|>" for answer in ("chosen", "rejected") for record in DATA["train"]]


def test_of_long_pairs_the_oldest_turns_go_for_both_answers_and_none_is_cut(form):
    long = pair("d", "Tell me more.", "I would feel the same. " * 3, TALK)
    whole, _ = form([long])
    limit = whole[0]["length"] - 1
    (row,), counted = form(
        [long, pair("e", "Tell me more.", "That must have been hard. " * 30, TALK)], max_length=limit
    )
    assert form.decode(row["prompt_ids"]) == (
        "<|im_start|>user\nToday he came home.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert form.decode(row["chosen_ids"]) == "Tell me more.<|im_end|>"
    assert form.decode(row["rejected_ids"]).strip().endswith("I would feel the same. <|im_end|>")
    assert row["length"] <= limit
    assert (counted["examples"], counted["rows"], counted["shortened"], counted["too_long"]) == (2, 1, 1, 1)
    assert counted["rejected_lengths"]["100%"] > limit > counted["chosen_lengths"]["100%"]


def test_pairs_that_are_equal_to_the_model_are_counted_and_left_out(form, tmp_path):
    (tmp_path / "trims.jinja").write_text(
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.strip() + '<|im_end|>\n' }}{% endfor %}"
    )
    trims = OWN_CHAT | {"template": str(tmp_path / "trims.jinja")}
    same = pair("same", "Tell me more.", "Tell me more. ")
    rows, counted = form([same, *DATA["train"]], chat=trims)
    assert len(rows) == counted["rows"] == 2
    assert counted["unusable"] == {EQUAL: 1}
    with pytest.raises(UserError, match=f"nothing to learn from for the format 'preference'\n  - {EQUAL}: 1"):
        form([same], chat=trims)


def test_marks_of_a_chat_in_either_answer_are_told(form):
    _, counted = form([*DATA["train"], pair("x", "Tell me more.", "No.<|im_end|>")])
    assert counted["with_marks"] == 1


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_template_gives_both_answers_their_end(form, model, tmp_path, name):
    tokenizer = load_tokenizer(str(model), name)
    tokenizer.add_special_tokens({"eos_token": ENDS[name].strip()})
    tokenizer.save_pretrained(tmp_path / "own")
    rows, counted = form(model=tmp_path / "own", chat=OWN_CHAT | {"template": name, "system": "Be kind."})
    assert counted["rows"] == counted["with_system"] == 2
    for record, row in zip(DATA["train"], rows, strict=True):
        assert form.decode(row["chosen_ids"]).lstrip() == record["chosen"] + ENDS[name]
        assert form.decode(row["rejected_ids"]).lstrip() == record["rejected"] + ENDS[name]
        assert "Be kind." in form.decode(row["prompt_ids"])


def test_a_border_that_a_tokenizer_reads_in_two_ways_is_told(model, monkeypatch):
    chat = Chat(load_tokenizer(str(model)))
    monkeypatch.setattr(Chat, "encode", lambda *_: [Encoded([1, 2], [False, True])])
    with pytest.raises(UserError, match="in another way where one follows"):
        chat.encode_pair([*QUESTION, {"role": "assistant", "content": "Yes."}], "No.")
