"""The dimensions of a base model, as far as they are known before it is loaded."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.grid import Encoder, ModelEntry
from loragrid.study.references import expand
from loragrid.study.schema import Build
from loragrid.study.swiglu import swiglu_width

UNGATED = {
    "albert",
    "bart",
    "bert",
    "bloom",
    "camembert",
    "codegen",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "falcon",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gptj",
    "opt",
    "phi",
    "starcoder2",
}
"""Model types whose feed-forward layers have two matrices instead of the three of a gated one (Shazeer 2020)."""

SHAPE = 128
"""Hidden width over layers in the Llama 2 family up to 13B (Touvron et al. 2023): 4096/32, 5120/40."""

VOCABULARY = 128_000
"""Assumed where only the number of parameters is known: Llama 3's, so that the guess errs towards more memory."""

EMBEDDING_SHARE = 0.25
"""But embeddings and head are taken for no more than this share of all parameters."""


@dataclass(frozen=True)
class Dimensions:
    """A decoder-only transformer in numbers.

    Args:
        hidden: width of the residual stream.
        intermediate: width of the feed-forward layers.
        layers: decoder layers.
        heads: attention heads.
        kv_heads: heads of keys and values (fewer with grouped-query attention).
        head_width: width of a head.
        vocabulary: entries of the embedding.
        tied: whether the head is the embedding.
        gated: whether the feed-forward layers have a gate.
        guessed: whether only the number of parameters was known.
        context: tokens that it reads at a time, where that is known.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int
    tied: bool = False
    gated: bool = True
    guessed: bool = False
    context: int | None = None

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of one decoder layer, by its usual name."""
        queries, keys = self.heads * self.head_width, self.kv_heads * self.head_width
        up = {"gate_proj": (self.hidden, self.intermediate)} if self.gated else {}
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            **up,
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def linear(self) -> int:
        """Weights of the linear layers of all decoder layers: what NF4 packs."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.matrices.values())

    @property
    def embeddings(self) -> int:
        """Weights of embedding and head, which stay in 16 or 32 bits."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights, normalisation aside."""
        return self.linear + self.embeddings

    def adapter(self, rank: int, targets: str | list[str]) -> int:
        """Parameters of a LoRA adapter: r · (inputs + outputs) for each adapted layer (Hu et al. 2021, section 4.1)."""
        return self.layers * rank * sum(map(sum, self.adapted(targets)))

    def adapted(self, targets: str | list[str]) -> list[tuple[int, int]]:
        """Inputs and outputs of the adapted linear layers of one decoder layer.

        Args:
            targets: `all-linear`, or names; one that is not known counts as the largest layer.
        """
        matrices = self.matrices
        if isinstance(targets, str):
            return list(matrices.values())
        largest = max(matrices.values(), key=sum)
        return [matrices.get(name, largest) for name in targets]


def dimensions(model: ModelEntry) -> Dimensions | None:
    """A model's dimensions: of its `build`, its config.json if that is here, else guessed from its `parameters`.

    Returns:
        The dimensions, or None if nothing is known.

    Raises:
        UserError: its config.json cannot be read.
    """
    if model.build is not None:
        return _of_build(Build.model_validate(model.build))
    folders = [Path(model.folder)]
    if model.path is not None:
        with contextlib.suppress(UserError):  # told when the model is copied
            folders.append(expand(model.path))
    for folder in folders:
        file = folder / "config.json"
        try:
            found = _of_config(read_json(file)) if file.exists() else None
        except UserError as error:
            raise UserError(f"models.{model.label}: {error}") from None
        if found is not None:
            return found
    return guess(model.parameters) if model.parameters else None


def file_bytes(model: ModelEntry) -> float:
    """Bytes of a weight in a model's files: 4 for a model made here; of the hub's, nearly all are in 16 bits."""
    return 4 if model.build is not None else 2


def guess(parameters: float) -> Dimensions:
    """Dimensions of a Llama with about so many parameters.

    Without grouped-query attention and with a large vocabulary, so that the memory it needs is not guessed too low.
    """
    hidden = 64
    while _llama(hidden, parameters).parameters < parameters:
        hidden += 64
    return _llama(hidden, parameters)


ENCODERS = {"xxlarge": 1.5e9, "xlarge": 7.5e8, "large": 3.6e8, "base": 1.3e8, "small": 4e7, "mini": 3e7, "tiny": 1e7}
"""Parameters of encoders, by the word in their name that tells: about those of DeBERTa, RoBERTa and MiniLM."""


def encoder_parameters(encoder: Encoder) -> float:
    """Parameters of an encoder: by its config.json if that is here, else guessed from its name, else of a large one."""
    folders = [Path(encoder.folder)]
    if encoder.path is not None:
        folders.append(expand(encoder.path))
    for folder in folders:
        with contextlib.suppress(UserError):  # told when it is loaded
            if found := _of_config(read_json(folder / "config.json")):
                # Without a head; and few have one embedding for each token type more.
                return found.linear + found.vocabulary * found.hidden
    name = encoder.id.lower()
    return next((number for word, number in ENCODERS.items() if word in name), ENCODERS["large"])


def _llama(hidden: int, parameters: float) -> Dimensions:
    vocabulary = min(VOCABULARY, int(parameters * EMBEDDING_SHARE / 2 / hidden))
    heads = max(1, hidden // 128)
    return Dimensions(
        hidden=hidden,
        intermediate=swiglu_width(hidden),
        layers=max(1, round(hidden / SHAPE)),
        heads=heads,
        kv_heads=heads,
        head_width=hidden // heads,
        vocabulary=vocabulary,
        guessed=True,
    )


def _of_build(build: Build) -> Dimensions:
    return Dimensions(
        hidden=build.hidden,
        intermediate=build.intermediate,
        layers=build.layers,
        heads=build.heads,
        kv_heads=build.heads,
        head_width=build.hidden // build.heads,
        vocabulary=build.vocabulary,
        context=build.context,
    )


def _of_config(config: Any) -> Dimensions | None:
    """Dimensions from a config.json of transformers; None if it is of no kind that we know."""
    if not isinstance(config, dict):
        return None
    config = {**config, **config.get("text_config", {})}

    def first(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), None)

    hidden, layers = first("hidden_size", "n_embd", "d_model"), first("num_hidden_layers", "n_layer")
    heads, vocabulary = first("num_attention_heads", "n_head"), first("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    return Dimensions(
        hidden=hidden,
        intermediate=first("intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
        layers=layers,
        heads=heads,
        kv_heads=first("num_key_value_heads") or heads,
        head_width=first("head_dim") or hidden // heads,
        vocabulary=vocabulary,
        tied=bool(config.get("tie_word_embeddings", False)),
        gated=config.get("model_type") not in UNGATED,
        context=first("max_position_embeddings", "n_positions", "max_seq_len"),
    )
