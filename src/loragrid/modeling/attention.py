"""Rows of a batch one after the other in one sequence, where the device has an attention that keeps them apart."""

import importlib.util
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

FLASH = "flash_attention_2"


def flash_attention(folder: str) -> str | None:
    """FlashAttention (Dao 2023), if this GPU, its packages and the model have it.

    Args:
        folder: the model's.

    Returns:
        Its name for `load_base`; None for whatever else is fastest.
    """
    # Whoever installed flash-attn wants it used. It needs 16 bits and compute capability 8; a T4 has 7.5.
    if not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] < 8:
        return None
    if importlib.util.find_spec("flash_attn") is None:
        return None
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    kind = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return FLASH if getattr(kind, "_supports_flash_attn", False) else None


def keeps_rows_apart(model: Any) -> bool:
    """Whether rows that follow each other in one sequence do not see each other, and none is padded."""
    return model.config._attn_implementation == FLASH
