"""Ask a model the prompts of an evaluation, in batches whose make-up does not depend on where a job was interrupted."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from loragrid.files import write_json, write_jsonl
from loragrid.modeling.chat import render
from loragrid.modeling.environment import describe, peak_memory, stream


def answer_prompts(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[dict[str, Any]],
    out: Path,
    *,
    decoding: dict[str, Any],
    seed: int,
    batch_size: int,
) -> None:
    """Generate an answer to each prompt; write generations.jsonl and, beside it, generation.json with what it took.

    Answers are kept in a growing file after each batch, so that an interrupted job goes on where it was.

    Args:
        model: base model, perhaps with an adapter.
        tokenizer: its tokenizer.
        prompts: `id` and `messages` each.
        out: generations.jsonl: `id`, `answer`, `prompt_tokens`, `answer_tokens`, `ended` (`stop` or `length`).
        decoding: max_new_tokens, temperature, top_p, top_k, repetition_penalty.
        seed: seed of sampling.
        batch_size: prompts at a time.
    """
    growing = out.with_suffix(".part.jsonl")
    encoded = {p["id"]: _encode(tokenizer, p["messages"], _room(model, decoding)) for p in prompts}
    # Prompts of like length share a batch: less padding. The order is a function of the prompts alone.
    order = sorted(encoded, key=lambda id_: (len(encoded[id_]), id_))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    done = _finished_batches(growing, batches)
    stop = _stop_tokens(model, tokenizer)
    for number, ids in enumerate(batches):
        if number < len(done):
            continue
        began = time.monotonic()
        torch.manual_seed(stream(seed, f"sampling:{ids[0]}"))
        answers = _generate(model, tokenizer, [encoded[id_] for id_ in ids], decoding, stop)
        seconds = (time.monotonic() - began) / len(ids)
        records = [
            {"id": id_, "answer": text, "prompt_tokens": len(encoded[id_]), "answer_tokens": tokens, "ended": ended,
             "seconds": round(seconds, 4)}
            for id_, (text, tokens, ended) in zip(ids, answers, strict=True)
        ]  # fmt: skip
        with growing.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        done.append(records)
        print(f"answered {sum(map(len, done))} of {len(prompts)}", flush=True)
    by_id = {record["id"]: record for records in done for record in records}
    answers = [by_id[prompt["id"]] for prompt in prompts]
    write_json(
        out.with_name("generation.json"),
        {
            "answers": len(answers),
            "seconds": round(sum(record["seconds"] for record in answers), 3),
            "prompt_tokens": sum(record["prompt_tokens"] for record in answers),
            "answer_tokens": sum(record["answer_tokens"] for record in answers),
            "peak_memory_bytes": peak_memory(),
            **describe(),
        },
    )
    write_jsonl(out, ({name: value for name, value in record.items() if name != "seconds"} for record in answers))
    growing.unlink()


def _encode(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], room: int) -> list[int]:
    """A prompt's tokens; the beginning of one that leaves no room for an answer is cut off."""
    ids: list[int] = tokenizer(render(tokenizer, messages, answer_next=True), add_special_tokens=False)["input_ids"]
    return ids[-room:]


def _room(model: Any, decoding: dict[str, Any]) -> int:
    """Tokens of a prompt that fit the context together with the longest answer."""
    return max(1, model.config.max_position_embeddings - decoding["max_new_tokens"])


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
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return  # cut short by a kill


def _stop_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a turn: instruct models often name another one than the tokenizer does."""
    named = model.generation_config.eos_token_id
    listed = named if isinstance(named, list) else [named]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


def _generate(
    model: Any, tokenizer: PreTrainedTokenizerBase, prompts: list[list[int]], decoding: dict[str, Any], stop: list[int]
) -> list[tuple[str, int, str]]:
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left: generation goes on from the right end
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    sampling = (
        {"do_sample": True, "temperature": decoding["temperature"], "top_p": decoding["top_p"], "top_k": decoding["top_k"]}
        if decoding["temperature"]
        else {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    )
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=decoding["max_new_tokens"],
            repetition_penalty=decoding["repetition_penalty"],
            eos_token_id=stop,
            pad_token_id=tokenizer.pad_token_id,
            **sampling,
        )
    answers = []
    for row in out[:, width:].tolist():
        length = next((index for index, token in enumerate(row) if token in stop), None)
        text = tokenizer.decode(row[:length], skip_special_tokens=True).strip()
        answers.append((text, len(row) if length is None else length + 1, "length" if length is None else "stop"))
    return answers
