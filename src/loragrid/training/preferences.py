"""Pairs of answers and their log-probabilities: what DPO trains on, and what it is compared with."""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Value
from safetensors import safe_open

from loragrid.errors import UserError

COLUMNS = ["prompt_ids", "chosen_ids", "rejected_ids", "ref_chosen_logps", "ref_rejected_logps"]

SIDES = ("chosen", "rejected")

ABOUT = "about"
"""The entry of the file's metadata that says what was compared with what."""


def log_probabilities_of(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the tokens of each answer of log p(token | prompt, tokens before), in nats, in float64.

    Args:
        model: with TRL's fused head, which computes no logits where they are not needed.
        batch: of TRL's collator: `input_ids`, `attention_mask` and `completion_mask`, the better answers first.

    Returns:
        Those of the better answers, and those of the others.
    """
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    out = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
    chosen, rejected = out.log_probs.double().sum(dim=1).chunk(2)  # zero where there is no label
    return chosen, rejected


def with_references(pairs: Dataset, split: str, file: Path, about: dict[str, str]) -> Dataset:
    """Pairs with what they are compared with.

    Args:
        pairs: formatted pairs.
        split: `train` or `validation`.
        file: log_probabilities.safetensors.
        about: what it must say of itself: `key`, and `adapter_sha256` of the parent's weights, or "" without one.

    Raises:
        UserError: it was made of other data, or by another model.
    """
    with safe_open(str(file), "pt") as found:
        values = {side: found.get_tensor(f"{split}.{side}") for side in SIDES}
        known = json.loads((found.metadata() or {}).get(ABOUT, "{}"))
    same = all(known.get(name) == value for name, value in about.items())
    if not same or any(len(value) != len(pairs) for value in values.values()):
        raise UserError(
            f"{file}: was made of other data or by another model, or the parent was trained again since; delete "
            f"{file.parent.parent} to have it made again"
        )
    for side, value in values.items():
        pairs = pairs.add_column(f"ref_{side}_logps", value.numpy(), feature=Value("float32"))
    return pairs
