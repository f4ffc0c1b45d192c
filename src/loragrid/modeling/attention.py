"""Rows of a batch one after the other in one sequence, where the device has an attention that keeps them apart."""

import importlib
import os
from typing import Any

import torch
from transformers import AutoConfig
from transformers.utils import is_flash_attn_2_available

FLASH = "flash_attention_2"

KEEP_ROWS_APART = frozenset({"gemma2", "granite", "llama", "mistral", "mixtral", "phi3", "qwen2", "qwen3"})
"""Kinds of models that tell FlashAttention where rows begin. Others have it, too, but take all for one row (GPT-J), or
have parts with a memory that goes on from row to row (Jamba)."""


def flash_attention(folder: str) -> str | None:
    """FlashAttention (Dao 2023), if this GPU, its packages and the model have it.

    Args:
        folder: the model's.

    Returns:
        Its name for `load_base`; None for whatever else is fastest.
    """
    # Whoever installed flash-attn wants it used. It needs 16 bits and compute capability 8; a T4 has 7.5.
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] < 8 or not _is_installed():
        return None
    # Its backward pass adds up in any order otherwise, and no run would be the same twice.
    os.environ.setdefault("FLASH_ATTENTION_DETERMINISTIC", "1")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return FLASH if config.model_type in KEEP_ROWS_APART else None


def _is_installed() -> bool:
    if not is_flash_attn_2_available():
        return False
    try:
        importlib.import_module("flash_attn")  # optional, and in no lock: it must fit the machine's torch and CUDA
    except Exception:  # whatever a library raises that was compiled for another torch
        return False
    return True


def keeps_rows_apart(model: Any) -> bool:
    """Whether rows that follow each other in one sequence do not see each other, and none is padded."""
    return model.config._attn_implementation == FLASH
