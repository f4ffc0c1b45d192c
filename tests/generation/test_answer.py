import json

import pytest
import torch
from nano import MODEL, dialogue, interrupted, never
from transformers import GenerationConfig

from loragrid.errors import UserError
from loragrid.files import read_jsonl
from loragrid.generation.answer import answer_prompts
from loragrid.generation.backends import transformers as answering
from loragrid.generation.records import answers_sha256, repeatable
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Interrupted
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import load_base
from loragrid.modeling.tokenizer import load_tokenizer

NOBODY = Reporter(None)
GREEDY = {"max_new_tokens": 12, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
SAMPLING = GREEDY | {"temperature": 1.5, "top_k": 20}


@pytest.fixture
def tokenizer(nano):
    return load_tokenizer(MODEL)


@pytest.fixture
def model(nano):
    return load_base(MODEL, "nf4").eval()


@pytest.fixture
def prompts():
    made = (dialogue(number) for number in range(300, 311))
    return [{"id": d["id"], "messages": d["messages"][:-1]} for d in made]


@pytest.fixture
def ask(model, tokenizer, prompts, tmp_path):
    def ask(out="generations.jsonl", prompts=prompts, **changes):
        settings = {"decoding": GREEDY, "seed": 0, "batch_size": 4, "stop": never()} | changes
        answer_prompts(
            model, Chat(tokenizer), prompts, tmp_path / out, about={"of": "them"}, reporter=NOBODY, **settings
        )
        return [repeatable(row) for row in read_jsonl(tmp_path / out)]

    ask.folder = tmp_path
    return ask


def direct_greedy(model, tokenizer, messages, steps):
    """Greedy decoding by hand: one whole forward pass a token."""
    ids = Chat(tokenizer).prompt(messages)
    made = []
    for _ in range(steps):
        with torch.no_grad():
            made.append(int(model(input_ids=torch.tensor([ids + made])).logits[0, -1].argmax()))
        if made[-1] == tokenizer.eos_token_id:
            break
    return made


def test_answers_are_greedy_whatever_the_batch(ask, model, tokenizer, prompts):
    together = ask()
    assert [record["id"] for record in together] == [prompt["id"] for prompt in prompts]
    # On this model the likeliest token is never so close to the next that padding's rounding tips the scale.
    assert ask("alone.jsonl", batch_size=1) == together
    for record, prompt in zip(together, prompts, strict=True):
        tokens = direct_greedy(model, tokenizer, prompt["messages"], 12)
        ended = tokens[-1] == tokenizer.eos_token_id
        assert record["answer"] == tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert record["answer_tokens"] == len(tokens)
        assert record["ended"] == ("stop" if ended else "length")
    assert {record["ended"] for record in ask("short.jsonl", decoding=GREEDY | {"max_new_tokens": 2})} == {"length"}
    assert "stop" in {record["ended"] for record in together}


def test_what_it_took(ask):
    records = ask()
    took = json.loads((ask.folder / "generation.json").read_text())
    assert took["answers"] == len(records)
    for count in ("prompt_tokens", "answer_tokens"):
        assert took[count] == sum(record[count] for record in records)
    assert took["prompts_cut"] == 0
    assert took["peak_memory_bytes"] > 0


@pytest.mark.parametrize("cut", [b'{"id": "d302", "answ', b"null\n", b'{"id": "d302"}\n'])
@pytest.mark.parametrize("decoding", [GREEDY, SAMPLING])
def test_an_interrupted_job_goes_on_and_ends_with_the_same_bytes(ask, monkeypatch, decoding, cut):
    ask("whole.jsonl", decoding=decoding)
    generate, calls = answering.generate, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(answering, "generate", killed)
    with pytest.raises(KeyboardInterrupt):
        ask("cut.jsonl", decoding=decoding)
    assert not (ask.folder / "cut.jsonl").exists()
    part = ask.folder / "cut.part.jsonl"
    # The kill came while a line of the next batch was being written, or that was damaged since.
    part.write_bytes(part.read_bytes() + cut)
    ask("cut.jsonl", decoding=decoding)
    assert len(calls) == 4  # three batches in all, two of them before
    assert answers_sha256(ask.folder / "cut.jsonl") == answers_sha256(ask.folder / "whole.jsonl")
    assert not part.exists()


def test_answers_before_an_interruption_are_kept_whatever_is_in_them(ask, monkeypatch):
    ask("whole.jsonl")
    records = [json.loads(line) | {"seconds": 1} for line in (ask.folder / "whole.jsonl").read_bytes().splitlines()]
    for record in records:
        record["answer"] = "one\u2028two\u2029three\x85four"
    records.sort(key=lambda record: (record["prompt_tokens"], record["id"]))
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (ask.folder / "cut.part.jsonl").write_text("".join(lines))
    monkeypatch.setattr(answering, "generate", None)
    assert {record["answer"] for record in ask("cut.jsonl")} == {"one\u2028two\u2029three\x85four"}


def test_told_to_end(ask):
    with pytest.raises(Interrupted, match="after 0 of 11 answers"):
        ask(stop=interrupted())
    assert not (ask.folder / "generations.jsonl").exists()


def test_sampling_depends_on_its_seed_alone(ask):
    first = ask("first.jsonl", decoding=SAMPLING, seed=1)
    torch.manual_seed(99)
    assert ask("again.jsonl", decoding=SAMPLING, seed=1) == first
    assert ask("other.jsonl", decoding=SAMPLING, seed=2) != first


def test_every_token_that_ends_an_answer_stops_it(ask, model, tokenizer, prompts):
    first = direct_greedy(model, tokenizer, prompts[0]["messages"], 3)
    # An instruct model's own file often names another end than its tokenizer does.
    model.generation_config = GenerationConfig(eos_token_id=[first[1]])
    (record,) = ask(prompts=prompts[:1])
    assert (record["answer_tokens"], record["ended"]) == (2, "stop")
    assert record["answer"] == tokenizer.decode(first[:1]).strip()


def test_the_models_own_taste_in_decoding_does_not_count(ask, model):
    expected = ask("plain.jsonl")
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=2.0, no_repeat_ngram_size=1, min_new_tokens=12, suppress_tokens=[40, 41, 42]
    )
    assert ask("tasteful.jsonl") == expected


def test_the_templates_end_of_turn_stops_an_answer(ask, model, tokenizer):
    # A base model whose tokenizer ends texts by one token, with a template that ends turns by another.
    expected = ask("plain.jsonl")
    tokenizer.eos_token = "<|endoftext|>"
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    assert ask("other.jsonl") == expected


def test_a_prompt_longer_than_the_context_loses_its_beginning(ask, model, tokenizer, prompts):
    messages = [{"role": "user", "content": "Today my dog ran away. " * 30}, *prompts[0]["messages"]]
    (record,) = ask(prompts=[{"id": "long", "messages": messages}])
    assert record["prompt_tokens"] == 128 - 12
    assert json.loads((ask.folder / "generation.json").read_text())["prompts_cut"] == 1
    ids = Chat(tokenizer).prompt(messages)[-116:]
    with torch.no_grad():
        first = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
    assert record["answer"].startswith(tokenizer.decode([first]).strip())


def test_no_room_for_a_prompt(ask):
    with pytest.raises(UserError, match=r"max_new_tokens \(128\) leaves no room"):
        ask(decoding=GREEDY | {"max_new_tokens": 128})
