"""How likely a model finds the reference answers."""

import time
from collections import Counter
from typing import Any

import torch

from loragrid.errors import UserError
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat
from loragrid.modeling.reference import ReferenceRow, reference_row


def reference_likelihoods(
    model: Any,
    chat: Chat,
    prompts: list[dict[str, Any]],
    batch_size: int,
    stop: Stop,
    reporter: Reporter,
    *,
    progress: bool = False,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Negative log-likelihood of each reference, given its prompt.

    The tokens counted are those of the answer and the one that ends its turn, as in training; the bytes are those of
    the text alone, which makes models with different tokenizers comparable in bits per byte.

    Args:
        model: base model, perhaps with an adapter.
        chat: its tokenizer and template.
        prompts: `id`, `dialogue`, `messages` and `reference` each.
        batch_size: rows at a time.
        stop: tells when to end; what was computed so far is lost then.
        reporter: is told how many are computed.
        progress: whether this attempt has made something before.

    Returns:
        For each prompt, in their order: `id`, `dialogue`, `nats`, `tokens`, `bytes`, and of the prompt the number of
        `utterances` and the `prompt_tokens` before any are cut; and the `id` of each that is left out, with the
        `reason`: one reference that is too long for a model must not keep the others from being scored.

    Raises:
        Interrupted: told to end.
        UserError: every reference is left out.
    """
    architecture = Architecture.of(model.config)
    all_rows = {prompt["id"]: reference_row(chat, prompt, architecture) for prompt in prompts}
    excluded = [{"id": id_, "reason": row} for id_, row in all_rows.items() if isinstance(row, str)]
    for reason, number in Counter(each["reason"] for each in excluded).items():
        print(f"warning: {number} of {len(prompts)} references are left out: {reason}", flush=True)
    if len(excluded) == len(prompts):
        reasons = "; ".join(dict.fromkeys(each["reason"] for each in excluded))
        raise UserError(f"all {len(prompts)} references are left out: {reasons}")
    prompts = [prompt for prompt in prompts if not isinstance(all_rows[prompt["id"]], str)]
    rows = [row for row in all_rows.values() if not isinstance(row, str)]
    order = sorted(range(len(rows)), key=lambda index: (len(rows[index].ids), prompts[index]["id"]))
    nats: dict[int, float] = {}
    longest = 0.0
    reporter.begin("likelihoods", 0, len(order))
    for start in range(0, len(order), batch_size):
        stop.unless_time_for(2 * longest)
        stop.check(f"after {start} of {len(order)} likelihoods", progress=progress)
        began = time.monotonic()
        batch = order[start : start + batch_size]
        values = _negative_log_likelihoods(model, [rows[index] for index in batch], chat.tokenizer.pad_token_id)
        nats.update(zip(batch, values, strict=True))
        reporter.reach(start + len(batch))
        longest = max(longest, time.monotonic() - began)
    items = [
        {
            "id": prompt["id"],
            "dialogue": prompt["dialogue"],
            "nats": nats[index],
            "tokens": sum(rows[index].is_answer),
            "bytes": len(prompt["reference"].encode()),
            "utterances": sum(message["role"] != "system" for message in prompt["messages"]),
            "prompt_tokens": rows[index].prompt_tokens,
        }
        for index, prompt in enumerate(prompts)
    ]
    return items, excluded


def _negative_log_likelihoods(model: Any, rows: list[ReferenceRow], padding: int) -> list[float]:
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), padding)
    attention = torch.zeros_like(ids)
    counted = torch.zeros_like(ids, dtype=torch.bool)
    for number, row in enumerate(rows):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        attention[number, :length] = 1
        counted[number, :length] = torch.tensor(row.is_answer)
    # The token at a column is predicted by the one before. Only the columns in which some row has an answer go through
    # the head: the logits of all would be the largest thing in memory.
    columns = counted.any(dim=0).nonzero().squeeze(1)
    ids, attention, counted, columns = (tensor.to(model.device) for tensor in (ids, attention, counted, columns))
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=attention, logits_to_keep=columns - 1).logits
        losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), ids[:, columns], reduction="none")
    return (losses.double() * counted[:, columns]).sum(dim=1).tolist()
