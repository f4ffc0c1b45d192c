"""Answers to the prompts of one batch, by transformers' `generate`."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig

from loragrid.generation.sampling import processors
from loragrid.modeling.chat import Chat

THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.S)
"""What a model that thinks aloud writes before its answer; all of it, if it never came to one."""


@contextlib.contextmanager
def only_as_asked(model: Any, chat: Chat) -> Iterator[list[int]]:
    """Let a model decode as `generate` is told, and not as its own file says, for the length of a block.

    That may ask for sampling, a penalty, suppressed tokens …: what counts is the study's decoding.

    Args:
        model: base model, perhaps with an adapter.
        chat: its tokenizer and template.

    Yields:
        Tokens that end an answer, as of `ends_of`.
    """
    ends = ends_of(model.generation_config, chat)
    # PEFT hands its own on to the base when it generates.
    models = [model, model.get_base_model()] if isinstance(model, PeftModel) else [model]
    own = [each.generation_config for each in models]
    for each in models:
        each.generation_config = GenerationConfig()
    try:
        yield ends
    finally:
        for each, before in zip(models, own, strict=True):
            each.generation_config = before


def ends_of(generation: GenerationConfig, chat: Chat) -> list[int]:
    """Every token that ends an answer: the model's, the tokenizer's and the template's may be three different ones.

    Args:
        generation: what the model's own file says.
        chat: its tokenizer and template.
    """
    named = generation.eos_token_id
    listed = named if isinstance(named, list) else [named]
    tokens = {*listed, chat.tokenizer.eos_token_id, chat.end_token}
    return sorted(token for token in tokens if token is not None)


def generate(
    model: Any,
    chat: Chat,
    prompts: Sequence[list[int]],
    decoding: Mapping[str, Any],
    ends: list[int],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Answer some prompts at once.

    Args:
        model: base model, perhaps with an adapter, within `only_as_asked`.
        chat: its tokenizer and template.
        prompts: tokens of each.
        decoding: max_new_tokens, temperature, top_p, top_k, repetition_penalty.
        ends: tokens that end an answer.
        seeds: of sampling, for each prompt.

    Returns:
        `answer`, `answer_tokens` (the one that ended it included) and `ended`, for each prompt.
    """
    tokenizer = chat.tokenizer
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left: generation goes on from the right end
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    padding = [width - len(prompt) for prompt in prompts]
    # Where the end of a turn is words and no token, answers end at the words.
    words = {"stop_strings": [chat.end], "tokenizer": tokenizer} if chat.end and chat.end_token is None else {}
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=decoding["max_new_tokens"],
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            do_sample=False,  # rows are drawn one by one before
            logits_processor=processors(decoding, padding, width, seeds),
            **words,
        )
    return [read_answer(chat, row, ends) for row in out[:, width:].tolist()]


def read_answer(chat: Chat, tokens: list[int], ends: list[int]) -> dict[str, Any]:
    """The answer that a model has given.

    Args:
        chat: its tokenizer and template.
        tokens: ids that it has generated, and perhaps some after the end.
        ends: tokens that end an answer.

    Returns:
        As of `generate`.
    """
    length = next((index for index, token in enumerate(tokens) if token in ends), None)
    text = str(chat.tokenizer.decode(tokens[:length], skip_special_tokens=True))
    if chat.end and chat.end_token is None and chat.end in text:
        # The last token may hold more than the end of the words; those of other rows ran on.
        text = text.partition(chat.end)[0]
        pieces = chat.tokenizer.batch_decode([tokens[: index + 1] for index in range(len(tokens))])
        length = next(index for index, piece in enumerate(pieces) if chat.end in piece)
    return {
        # An assistant says what comes after its thoughts.
        "answer": THOUGHTS.sub("", text).strip(),
        "answer_tokens": len(tokens) if length is None else length + 1,
        "ended": "length" if length is None else "stop",
    }
