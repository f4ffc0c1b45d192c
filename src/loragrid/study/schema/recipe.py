"""Recipes and points of the grid, as a study file says them."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from loragrid.study.keys import plain
from loragrid.study.recipe import Recipe
from loragrid.study.schema.data import Rows, Splits
from loragrid.study.schema.parts import Model, Name


class RecipeSpec(Model):
    """Everything that defines a training. A new field with its default changes no key."""

    method: Literal["qlora", "lora"] = Field(
        "qlora",
        description="`qlora`: LoRA over an NF4 base; `lora`: over a 16 or 32 bit base (the model's `precision`).",
    )
    objective: Literal["sft", "dpo"] = Field(
        "sft",
        description="`sft`: to say what the data says; `dpo`: to prefer the better of two answers to the worse one, "
        "compared with the `parent` or, without one, with the untrained model (Rafailov et al. 2023).",
    )
    beta: float = Field(
        0.1, gt=0, description="DPO's beta: how much it costs to move away from what it is compared with."
    )
    adapter: Literal["continue", "stack"] = Field(
        "continue",
        description="With a `parent`: `continue` trains its adapter on; `stack` trains a new one, of a rank, alpha and "
        "modules of its own, over the frozen parent. Both save one adapter that holds everything.",
    )
    rank: int = Field(16, ge=1, le=1024, description="LoRA rank r (Hu et al. 2021, section 4.1).")
    alpha: float = Field(
        32, gt=0, description="LoRA alpha; the update is scaled by alpha/r, or alpha/√r with `rslora`."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the LoRA matrices.")
    target_modules: Literal["all-linear"] | list[str] = Field(
        "all-linear", description="Which linear layers get an adapter: `all-linear` or names such as `q_proj`."
    )
    rslora: bool = Field(False, description="Rank-stabilised scale alpha/√r (Kalajdzievski 2023).")
    dora: bool = Field(
        False,
        description="Train the magnitude of each adapted weight apart from its direction (DoRA, Liu et al. 2024).",
    )
    initialisation: Literal["default", "gaussian", "pissa", "olora"] = Field(
        "default",
        description="How adapters begin: as no change (`default`, or `gaussian` A), or with the principal part of each "
        "weight (`pissa`, Meng et al. 2024; over a 16 or 32 bit base) or a part of its QR decomposition (`olora`, "
        "Büyükakyüz 2024). The last two are saved as plain LoRA of twice the rank, over the base as it is.",
    )
    loraplus: float = Field(
        1.0, ge=1, description="Learning rate of B over that of A (LoRA+, Hayou et al. 2024); 1 for plain LoRA."
    )
    lora_config: dict[str, Any] = Field(
        {}, description="Further fields of PEFT's LoraConfig, e.g. `{layers_to_transform: [0, 1]}`."
    )
    epochs: float = Field(3, gt=0, description="Passes over the training rows.")
    max_steps: int | None = Field(
        None, ge=1, description="Stop after this many optimiser steps, whatever `epochs` says."
    )
    batch_size: int = Field(16, ge=1, description="Effective batch: rows an optimiser step, over all devices.")
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    schedule: Literal[
        "linear", "cosine", "constant", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "inverse_sqrt"
    ] = Field("linear", description="Decay after the warm-up.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps over which the learning rate rises.")
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_32bit"] = Field(
        "adamw", description="`adamw` (torch), or bitsandbytes' 8-bit or paged form, which need a GPU."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    max_length: int = Field(
        512, ge=16, description="Longest training row in tokens; of longer ones the oldest turns go."
    )
    mask: Literal["answers", "all"] = Field(
        "answers", description="Loss on the assistant's answers only, or on every token."
    )
    group_by_length: bool = Field(True, description="Put rows of like length into one batch, so that less is padded.")
    evaluations: Literal["epoch"] | Annotated[int, Field(ge=1)] = Field(
        4,
        description="How often the validation loss is measured, at equal distances (10: after every tenth of the "
        "training), or `epoch`: after each epoch, and at the end.",
    )
    keep: Literal["last", "best"] = Field(
        "last", description="Publish the adapter of the last step or of the lowest validation loss."
    )
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop early: after so many validations in a row without a lower loss than before. Usually with "
        "`keep: best`.",
    )
    training_arguments: dict[str, Any] = Field(
        {}, description="Further fields of transformers' TrainingArguments, e.g. `{adam_beta2: 0.95}`."
    )

    @field_validator("target_modules")
    @classmethod
    def _order_means_nothing(cls, value: str | list[str]) -> str | list[str]:
        return value if isinstance(value, str) else sorted(set(value))

    def recipe(self) -> Recipe:
        """The same as runs have it."""
        return Recipe(**plain(self.model_dump()))


class Point(Model):
    """One combination that is not part of the product: recipe fields by name, and optionally where it applies."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: Name | None = Field(None, description="Label in the tables, e.g. `SFT4`; also what `parent` refers to.")
    model: str | None = Field(None, description="Only for this model.")
    dataset: str | None = Field(None, description="Only for this dataset.")
    chat: Name | None = Field(None, description="Name in `chats`; default: the model's own chat.")
    rows: Rows | None = Field(None, description="Rows of data for this point.")
    splits: Splits | None = Field(None, description="Splits of data for this point.")
    parent: Name | None = Field(None, description="Name of the point that this one goes on from.")
