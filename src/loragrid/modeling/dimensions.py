"""The dimensions of a base model, as its configuration gives them."""

from dataclasses import dataclass
from typing import Any

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


def dimensions_of(config: Any) -> Dimensions | None:
    """Dimensions from a config.json of transformers; None if it is of no kind that we know."""
    if not isinstance(config, dict):
        return None
    config = {**config, **(config.get("text_config") or {})}

    def first(*names: str) -> Any:
        return next((config[name] for name in names if config.get(name) is not None), None)

    hidden, layers = first("hidden_size", "n_embd", "d_model"), first("num_hidden_layers", "n_layer")
    heads, vocabulary = first("num_attention_heads", "n_head"), first("vocab_size")
    if not (hidden and layers and heads and vocabulary):
        return None
    intermediate, kv_heads = first("intermediate_size", "n_inner", "ffn_dim"), first("num_key_value_heads")
    if isinstance(intermediate, list) or isinstance(kv_heads, list):  # each layer has its own, as in OpenELM
        return None
    return Dimensions(
        hidden=hidden,
        intermediate=intermediate or 4 * hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads or heads,
        head_width=first("head_dim") or hidden // heads,
        vocabulary=vocabulary,
        tied=bool(config.get("tie_word_embeddings", False)),
        gated=config.get("model_type") not in UNGATED,
        context=first("max_position_embeddings", "n_positions", "max_seq_len"),
    )
