import math

import pytest
import torch
from nano import MODEL, dialogue, never

from loragrid.errors import UserError
from loragrid.generation.likelihood import reference_likelihoods
from loragrid.jobs.standing import Reporter
from loragrid.modeling.chat import Chat
from loragrid.modeling.load import load_base
from loragrid.modeling.tokenizer import load_tokenizer

NOBODY = Reporter(None)


@pytest.fixture
def tokenizer(nano):
    return load_tokenizer(MODEL)


@pytest.fixture
def prompts():
    made = (dialogue(number) for number in range(300, 307))
    return [
        {"id": d["id"], "dialogue": d["id"], "messages": d["messages"][:-1], "reference": d["messages"][-1]["content"]}
        for d in made
    ]


def test_a_model_that_knows_nothing_is_as_perplexed_as_there_are_tokens(tokenizer, prompts):
    model = load_base(MODEL, "32bit").eval()
    torch.nn.init.zeros_(model.lm_head.weight)
    for item in reference_likelihoods(model, Chat(tokenizer), prompts, 4, never(), NOBODY)[0]:
        assert math.exp(item["nats"] / item["tokens"]) == pytest.approx(model.config.vocab_size, rel=1e-5)


def test_nats_are_the_sum_over_the_answer_and_its_end(tokenizer, prompts):
    model = load_base(MODEL, "nf4").eval()
    for item, prompt in zip(
        reference_likelihoods(model, Chat(tokenizer), prompts, 3, never(), NOBODY)[0], prompts, strict=True
    ):
        before = Chat(tokenizer).prompt(prompt["messages"])
        answer = tokenizer(prompt["reference"] + "<|im_end|>", add_special_tokens=False).input_ids
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before + answer])).logits[0].double()
        probabilities = logits.log_softmax(-1)
        nats = -sum(probabilities[len(before) - 1 + index, token].item() for index, token in enumerate(answer))
        assert item["nats"] == pytest.approx(nats, rel=1e-5)
        assert item["tokens"] == len(answer)
        assert item["bytes"] == len(prompt["reference"])
        assert (item["id"], item["dialogue"]) == (prompt["id"], prompt["dialogue"])


def test_the_batch_size_does_not_matter(tokenizer, prompts):
    model = load_base(MODEL, "nf4").eval()
    one, many = (reference_likelihoods(model, Chat(tokenizer), prompts, size, never(), NOBODY)[0] for size in (1, 7))
    for item, other in zip(one, many, strict=True):
        assert item["nats"] == pytest.approx(other["nats"], rel=1e-5)


def test_bytes_are_those_of_the_text_as_written(tokenizer, prompts):
    prompts[0]["reference"] = "Schön!"
    items, _ = reference_likelihoods(load_base(MODEL, "nf4").eval(), Chat(tokenizer), prompts[:1], 1, never(), NOBODY)
    assert items[0]["bytes"] == 7


def test_items_tell_how_much_was_said_before(tokenizer, prompts):
    said = [{"role": ("user", "assistant")[number % 2], "content": "My dog ran away."} for number in range(5)]
    prompts[1]["messages"] = [{"role": "system", "content": "Be kind."}, *said]
    chat = Chat(tokenizer)
    items, _ = reference_likelihoods(load_base(MODEL, "nf4").eval(), chat, prompts, 4, never(), NOBODY)
    assert items[1]["utterances"] == 5
    for item, prompt in zip(items, prompts, strict=True):
        assert item["prompt_tokens"] == len(chat.prompt(prompt["messages"]))


def test_a_prompt_that_does_not_fit_loses_its_beginning(tokenizer, prompts):
    model = load_base(MODEL, "nf4").eval()
    prompts[0]["messages"] = [{"role": "user", "content": "Today my dog ran away. " * 40}]
    items, _ = reference_likelihoods(model, Chat(tokenizer), prompts, 4, never(), NOBODY)
    assert items[0]["prompt_tokens"] == len(Chat(tokenizer).prompt(prompts[0]["messages"])) > 128
    assert items[0]["tokens"] == len(tokenizer(prompts[0]["reference"]).input_ids) + 1
    assert math.isfinite(items[0]["nats"])


def test_a_reference_that_does_not_fit_is_left_out_and_the_others_are_scored(tokenizer, prompts, capsys):
    model, chat = load_base(MODEL, "nf4").eval(), Chat(tokenizer)
    whole, _ = reference_likelihoods(model, chat, prompts, 4, never(), NOBODY)
    long = {**prompts[0], "reference": "Today my dog ran away. " * 40}
    items, excluded = reference_likelihoods(model, chat, [long, *prompts[1:]], 4, never(), NOBODY)
    assert [item["id"] for item in items] == [prompt["id"] for prompt in prompts[1:]]
    assert [item["nats"] for item in items] == pytest.approx([item["nats"] for item in whole[1:]], rel=1e-5)
    reason = "longer than the model's context of 128 tokens"
    assert excluded == [{"id": "d300", "reason": reason}]
    assert f"1 of 7 references are left out: {reason}" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"all 1 references are left out: longer than the model's context of 128"):
        reference_likelihoods(model, chat, [long], 4, never(), NOBODY)


def test_a_reference_with_signs_that_the_tokenizer_does_not_know_has_no_likelihood(tokenizer, prompts):
    chat = Chat(tokenizer)
    tokenizer.unk_token = "!"
    prompts[0]["reference"], prompts[1]["reference"] = "Tell me more!", "Tell me more."
    items, excluded = reference_likelihoods(load_base(MODEL, "nf4").eval(), chat, prompts[:2], 4, never(), NOBODY)
    assert [item["id"] for item in items] == [prompts[1]["id"]]
    assert excluded == [{"id": "d300", "reason": "has signs that the tokenizer does not know (!)"}]


def test_a_token_for_the_unknown_that_also_ends_answers_is_none(tokenizer, prompts):
    tokenizer.unk_token = tokenizer.eos_token  # as GPT-2's
    items, excluded = reference_likelihoods(
        load_base(MODEL, "nf4").eval(), Chat(tokenizer), prompts, 4, never(), NOBODY
    )
    assert (len(items), excluded) == (7, [])
