"""Ask a model the prompts of an evaluation, in batches whose make-up does not depend on where a job was interrupted."""

import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from loragrid.files import write_json, write_jsonl, write_text
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat
from loragrid.modeling.environment import describe, peak_memory, stream

THOUGHTS = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.S)
"""What a model that thinks aloud writes before its answer; all of it, if it never came to one."""


def answer_prompts(
    model: Any,
    chat: Chat,
    prompts: list[dict[str, Any]],
    out: Path,
    *,
    decoding: dict[str, Any],
    seed: int,
    batch_size: int,
    stop: Stop,
    reporter: Reporter,
    about: Mapping[str, Any],
) -> None:
    """Generate an answer to each prompt; write generations.jsonl and, beside it, generation.json with what it took.

    Answers are kept in a growing file after each batch, so that an interrupted job goes on where it was.

    Args:
        model: base model, perhaps with an adapter.
        chat: its tokenizer and template.
        prompts: `id` and `messages` each.
        out: generations.jsonl: `id`, `answer`, `prompt_tokens`, `answer_tokens`, `ended` (`stop` or `length`).
        decoding: max_new_tokens, temperature, top_p, top_k, repetition_penalty.
        seed: seed of sampling.
        batch_size: prompts at a time.
        stop: tells when to end.
        reporter: is told how many are answered.
        about: whose answers these are, for generation.json.

    Raises:
        Interrupted: told to end.
        UserError: the longest answer leaves no room for a prompt, or the model has no row for a token of one.
    """
    growing = out.with_suffix(".part.jsonl")
    architecture = Architecture.of(model.config)
    room = architecture.prompt_room(decoding["max_new_tokens"])
    whole = {prompt["id"]: chat.prompt(prompt["messages"]) for prompt in prompts}
    encoded = {id_: ids if room is None else ids[-room:] for id_, ids in whole.items()}
    architecture.check_ids(max(id_ for ids in encoded.values() for id_ in ids))
    # Prompts of like length share a batch: less padding. The order is a function of the prompts alone.
    order = sorted(encoded, key=lambda id_: (len(encoded[id_]), id_))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    done = _finished_batches(growing, batches)
    ends = stop_tokens(model, chat)
    # The model's own file may ask for sampling, a penalty, suppressed tokens …: what counts is the study's decoding.
    model.generation_config = GenerationConfig()
    before, longest = len(done), 0.0
    reporter.begin("answers", sum(map(len, done)), len(prompts))
    for ids in batches[len(done) :]:
        stop.unless_time_for(2 * longest)
        stop.check(f"after {sum(map(len, done))} of {len(prompts)} answers", progress=len(done) > before)
        began = time.monotonic()
        torch.manual_seed(stream(seed, f"sampling:{ids[0]}"))
        answers = generate(model, chat, [encoded[id_] for id_ in ids], decoding, ends)
        longest = max(longest, time.monotonic() - began)
        seconds = round((time.monotonic() - began) / len(ids), 4)
        records = [
            {"id": id_, "prompt_tokens": len(encoded[id_]), **answer, "seconds": seconds}
            for id_, answer in zip(ids, answers, strict=True)
        ]
        with growing.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        done.append(records)
        reporter.reach(sum(map(len, done)))
        print(f"answered {sum(map(len, done))} of {len(prompts)}", flush=True)
    by_id = {record["id"]: record for records in done for record in records}
    in_order = [by_id[prompt["id"]] for prompt in prompts]
    columns = ("id", "answer", "prompt_tokens", "answer_tokens", "ended")
    text = "".join(
        json.dumps({name: record[name] for name in columns}, ensure_ascii=False) + "\n" for record in in_order
    )
    write_json(
        out.with_name("generation.json"),
        {
            **about,
            "answers_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "answers": len(in_order),
            "ended_by_length": sum(record["ended"] == "length" for record in in_order),
            "seconds": round(sum(record["seconds"] for record in in_order), 3),
            "prompt_tokens": sum(record["prompt_tokens"] for record in in_order),
            "answer_tokens": sum(record["answer_tokens"] for record in in_order),
            "prompts_cut": sum(len(whole[id_]) > len(encoded[id_]) for id_ in whole),
            "peak_memory_bytes": peak_memory(),
            **describe(),
        },
    )
    write_text(out, text)
    growing.unlink()


def _finished_batches(growing: Path, batches: list[list[str]]) -> list[list[dict[str, Any]]]:
    """The batches that an earlier attempt finished; the file is cut after the last whole one."""
    records = list(_whole_lines(growing))
    done, at = [], 0
    for ids in batches:
        part = records[at : at + len(ids)]
        if [record["id"] for record in part] != ids:
            break
        done.append(part)
        at += len(ids)
    write_jsonl(growing, records[:at])
    return done


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    # Not splitlines(), which also divides at characters that an answer may have inside, e.g. U+2028.
    for line in file.read_bytes().split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            return  # cut short by a kill


def stop_tokens(model: Any, chat: Chat) -> list[int]:
    """Every token that ends an answer: the model's, the tokenizer's and the template's may be three different ones."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    tokens = {*listed, chat.tokenizer.eos_token_id, chat.end_token}
    return sorted(token for token in tokens if token is not None)


def generate(
    model: Any, chat: Chat, prompts: Sequence[list[int]], decoding: Mapping[str, Any], ends: list[int]
) -> list[dict[str, Any]]:
    """Answer some prompts at once.

    Args:
        model: base model, perhaps with an adapter.
        chat: its tokenizer and template.
        prompts: tokens of each.
        decoding: as above.
        ends: tokens that end an answer.

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
    sampling = {"do_sample": False}
    if decoding["temperature"]:
        sampling = {"do_sample": True, **{name: decoding[name] for name in ("temperature", "top_p", "top_k")}}
    # Where the end of a turn is words and no token, answers end at the words.
    words = {"stop_strings": [chat.end], "tokenizer": tokenizer} if chat.end and chat.end_token is None else {}
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=decoding["max_new_tokens"],
            repetition_penalty=decoding["repetition_penalty"],
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
            **words,
        )
    return [_answer(chat, row, ends) for row in out[:, width:].tolist()]


def _answer(chat: Chat, tokens: list[int], ends: list[int]) -> dict[str, Any]:
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
