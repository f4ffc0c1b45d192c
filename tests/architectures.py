"""Tiny models of many families, with random weights and one tokenizer, which begins each text with its BOS."""

import functools
from pathlib import Path

import torch
from nano import SAID, WHO
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from loragrid.files import write_json
from loragrid.modeling.build import CHATML, train_tokenizer

CONTEXT = 256
ROWS = 352
"""Of the embeddings: more than the tokenizer has words, as usual, and whole blocks of NF4."""

_WIDTH = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
_LLAMA = _WIDTH | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT}
_GEMMA = _LLAMA | {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 32}
_VISION = _WIDTH | {"intermediate_size": 64, "image_size": 28, "patch_size": 14}

FAMILIES = {
    "bloom": {"hidden_size": 64, "n_head": 4, "n_layer": 2},
    "cohere": _LLAMA,
    "falcon": _WIDTH | {"max_position_embeddings": CONTEXT},
    "gemma2": _GEMMA,
    "gemma3": {"text_config": _GEMMA | {"vocab_size": ROWS}, "vision_config": _VISION, "mm_tokens_per_image": 4},
    "gpt2": {"n_embd": 64, "n_head": 4, "n_layer": 2, "n_positions": CONTEXT},
    "gpt_neox": _WIDTH | {"intermediate_size": 64, "max_position_embeddings": CONTEXT},
    "granite": _LLAMA | {"logits_scaling": 4.0, "embedding_multiplier": 2.0, "residual_multiplier": 0.5},
    "llama": _LLAMA,
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8},
    "mistral": _LLAMA,
    "mixtral": _LLAMA | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": CONTEXT},
    "opt": _WIDTH | {"ffn_dim": 64, "word_embed_proj_dim": 64, "max_position_embeddings": CONTEXT},
    "phi3": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA | {"head_dim": 16},
}
"""What differs from a family's own defaults, by its name in transformers."""


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that puts a BOS before each text, with a template that writes one, too: there must not be two."""
    made = train_tokenizer([*WHO, *SAID], 300, CONTEXT)
    made.add_special_tokens({"bos_token": "<s>"})
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.bos_token_id)]
    )
    made.chat_template = "{{ bos_token }}" + CHATML
    return made


def config_of(family: str, **changes):
    """The configuration of a family's model."""
    tokens = {name: getattr(tokenizer(), name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return AutoConfig.for_model(family, **({"vocab_size": ROWS} | tokens | FAMILIES[family] | changes))


def without_weights(family: str, **changes):
    """A family's model on the meta device."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config_of(family, **changes))


def write_model(folder: Path, family: str, **changes) -> Path:
    """A family's model with random weights, as if it had been downloaded."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config_of(family, **changes)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    write_json(folder / "model.json", {"files": {}})
    return folder
