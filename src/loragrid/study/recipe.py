"""The recipe of a run as jobs use it. What a study may say of it, and in which bounds, is checked by `RecipeSpec`."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a training, see `loragrid.study.schema.RecipeSpec`.

    Records hold it as a mapping, in this order, with numbers in the form of keys: whole ones are integers. A field that
    an older record does not have was at its default.
    """

    method: Literal["qlora", "lora"] = "qlora"
    objective: Literal["sft", "dpo"] = "sft"
    beta: float = 0.1
    adapter: Literal["continue", "stack"] = "continue"
    rank: int = 16
    alpha: float = 32
    dropout: float = 0
    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    rslora: bool = False
    dora: bool = False
    initialisation: Literal["default", "gaussian", "pissa", "olora"] = "default"
    loraplus: float = 1
    lora_config: dict[str, Any] = field(default_factory=dict)
    epochs: float = 3
    max_steps: int | None = None
    batch_size: int = 16
    learning_rate: float = 2e-4
    schedule: Literal[
        "linear", "cosine", "constant", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "inverse_sqrt"
    ] = "linear"
    warmup: float = 0
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_32bit"] = "adamw"
    weight_decay: float = 0
    max_grad_norm: float = 1
    max_length: int = 512
    mask: Literal["answers", "all"] = "answers"
    group_by_length: bool = True
    evaluations: Literal["epoch"] | int = 4
    keep: Literal["last", "best"] = "last"
    patience: int | None = None
    training_arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def scale(self) -> float:
        """Factor of the update BAx: alpha/r, or alpha/√r with rsLoRA."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    @property
    def rows_per_example(self) -> int:
        """Rows that an example is: a pair of answers is two."""
        return 2 if self.objective == "dpo" else 1

    def examples(self, rows: int) -> int:
        """Examples that go at a time, if so many rows may; at least one."""
        return max(1, rows // self.rows_per_example)

    def changed(self) -> dict[str, Any]:
        """The fields that differ from their defaults."""
        defaults = vars(type(self)())
        return {name: value for name, value in vars(self).items() if value != defaults[name]}


NAMES = tuple(each.name for each in fields(Recipe))
"""Of the fields of a recipe."""
