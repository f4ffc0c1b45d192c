"""Base models and chats, as a study file says them."""

from typing import Literal

from pydantic import Field, model_validator

from loragrid.study.schema.parts import Model, Precision, Scalar
from loragrid.study.swiglu import swiglu_width


class Build(Model):
    """A small Llama made here from a text corpus, for demonstrations and tests without a hub."""

    corpus: str = Field(description="JSON Lines file with `text` or `messages` in each record; the pre-training text.")
    vocabulary: int = Field(
        2048, ge=300, description="Entries of the byte-level BPE tokenizer, special tokens included."
    )
    hidden: int = Field(
        192, ge=64, multiple_of=64, description="Width of the residual stream, in whole NF4 blocks of 64."
    )
    layers: int = Field(6, ge=1, description="Decoder layers.")
    heads: int = Field(4, ge=1, description="Attention heads; must divide `hidden`.")
    context: int = Field(512, ge=64, description="Longest sequence in tokens.")
    steps: int = Field(150, ge=1, description="Optimiser steps of pre-training.")
    batch_size: int = Field(16, ge=1, description="Sequences a step.")
    sequence: int = Field(128, ge=16, description="Tokens of each pre-training sequence.")
    learning_rate: float = Field(3e-3, gt=0, description="Peak learning rate (AdamW, cosine to zero).")
    seed: int = Field(1, ge=0, description="Seed of initialisation and order.")

    @model_validator(mode="after")
    def _heads_divide(self) -> "Build":
        if self.hidden % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide hidden ({self.hidden})")
        return self

    @property
    def intermediate(self) -> int:
        """Width of the SwiGLU layers."""
        return swiglu_width(self.hidden)

    @property
    def parameters(self) -> int:
        """Number of parameters, normalisation aside."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate
        return 2 * self.vocabulary * self.hidden + self.layers * layer


class ChatSpec(Model):
    """How dialogues become text for a model. What is not given is the model's own."""

    template: str | None = Field(
        None,
        description="Chat template: a name (chatml, gemma, llama-2, llama-3, mistral, phi-3, plain, zephyr) or a file "
        "with Jinja text. Default: the tokenizer's own.",
    )
    system: str | None = Field(None, description="System prompt put before every dialogue without one.")
    template_arguments: dict[str, Scalar] = Field(
        default_factory=dict,
        description="Variables that the template knows, e.g. `{enable_thinking: true}`. A template that can do without "
        "thoughts is told to, unless it is told otherwise here.",
    )
    date: str = Field(
        "2024-07-26",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="What a template takes for today that writes the date: a result must not depend on the day.",
    )
    end_token: Literal["text", "train"] = Field(
        "text",
        description="Where the template ends an answer with words that are no token of the tokenizer: `text` leaves "
        "them words, and answers are cut at them; `train` adds a token for them and trains its rows of the embedding "
        "and the head with the adapter. Untrained models are asked with `text`.",
    )


class ModelSpec(ChatSpec):
    """A base model: from the hub (`id`, `revision`), from a local folder (`path`) or made here (`build`)."""

    id: str | None = Field(None, description="Repository on the Hugging Face hub, e.g. `mistralai/Mistral-7B-v0.1`.")
    revision: str = Field("main", description="Commit, tag or branch on the hub; a commit makes the study repeatable.")
    path: str | None = Field(None, description="Local folder with the same files, used instead of a download.")
    build: Build | None = Field(None, description="Make a small model here instead.")
    precision: Precision = Field(
        "nf4",
        description="Of the base weights: `nf4` (4 bits, double quantisation), `16bit` (bf16 or fp16, as the device "
        "has), `32bit`.",
    )
    parameters: float | None = Field(
        None, gt=0, description="Number of parameters, for the plan before the model is downloaded, e.g. 7.2e9."
    )
    micro_batch: int = Field(
        8,
        ge=1,
        description="Most rows at a time on one device; answers have more, up to 64, where its memory has room. "
        "Changes speed and memory, not results or keys.",
    )
    gpus: int = Field(1, ge=1, description="GPUs that train together. Changes speed and memory, not results or keys.")
    gradient_checkpointing: Literal["auto"] | bool = Field(
        "auto",
        description="Compute activations again for the backward pass instead of keeping them: less memory, more time. "
        "`auto`: on a GPU. Changes speed and memory, not results or keys.",
    )
    sharded: bool = Field(
        False,
        description="Its weights are spread over its `gpus` (FSDP) instead of being on each: for models too big for "
        "one GPU. Changes memory and speed, not results or keys.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelSpec":
        if (self.id is None) == (self.build is None):
            raise ValueError("give either `id` (a hub model, with `path` for a local copy) or `build`")
        if self.path is not None and self.id is None:
            raise ValueError("`path` is a local copy of a hub model: give its `id` too")
        return self

    @model_validator(mode="after")
    def _shards_need_gpus(self) -> "ModelSpec":
        if self.sharded and self.gpus == 1:
            raise ValueError("`sharded` spreads the weights over several GPUs: give their number as `gpus`")
        return self
