"""Supervised fine-tuning: the loss is that of the tokens that have a label (TRL's SFTTrainer)."""

from typing import Any

from datasets import Dataset
from peft import PeftModel
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as heads

from loragrid.modeling.attention import keeps_rows_apart
from loragrid.modeling.chat import Chat
from loragrid.study.recipe import Recipe
from loragrid.training.state import RunState
from loragrid.training.trainer import RunTrainer

COLUMNS = ["input_ids", "labels"]


class SupervisedTrainer(RunTrainer, SFTTrainer):
    """TRL's trainer, with what loragrid does its own way."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As above."""
        self._metrics["train"].clear()  # TRL collects a number for each micro-batch, for a log that is not kept
        super().log(logs, start_time)

    def sums_of(self, batch: dict[str, Any]) -> list[float]:
        """Nats, and how many tokens have a label."""
        model: Any = self.model
        # The same chunked head as in training: the logits of a batch would not fit a small GPU.
        out = model(**batch, fused_lm_head=True)
        return [-out.log_probs.double().sum().item(), int(out.label_mask.sum())]  # zero where there is no label


def tokens(rows: Dataset) -> tuple[list[int], list[int]]:
    """Tokens of each row, and those that the loss is of: with a label, the first aside, which nothing foretells."""
    counts: list[int] = []
    for some in rows.select_columns("labels").with_format("numpy").iter(batch_size=1000):
        counts += [int((labels[1:] != -100).sum()) for labels in some["labels"]]
    return list(rows["length"]), counts


def configuration(arguments: dict[str, Any], recipe: Recipe) -> SFTConfig:
    """TRL's configuration, of what all methods have in common and what is this one's. It opens the process group."""
    return SFTConfig(
        **arguments,
        max_length=None,  # the rows fit already
        # TRL adds a loss of its own to that of the tokens, where a model has experts: one loss for all.
        router_aux_loss_coef=0.0,
        dataset_kwargs={"skip_prepare_dataset": True},
    )


def trainer(
    model: PeftModel, chat: Chat, run: RunState, configuration: SFTConfig, train: Dataset, validation: Dataset
) -> SupervisedTrainer:
    """The trainer of a run.

    Args:
        model: base model with a trainable adapter.
        chat: its tokenizer and template.
        run: the run's standing.
        configuration: as above.
        train: formatted rows.
        validation: likewise, rows of like length side by side.
    """
    _score_only_what_has_a_label()
    # A row alone has no padding, and TRL warns of it.
    configuration.padding_free = keeps_rows_apart(model) and configuration.per_device_train_batch_size > 1
    return SupervisedTrainer(
        model,
        configuration,
        run=run,
        train_dataset=train.select_columns(COLUMNS),
        eval_dataset=validation.select_columns(COLUMNS),
        processing_class=chat.tokenizer,
    )


def _score_only_what_has_a_label() -> None:
    """Let TRL's head leave out, on a CPU too, the positions without a label: prompts and padding.

    TRL 1.16 does so only where it has Triton, since compilers of other devices would start anew with each shape. A CPU
    compiles nothing, and with a large vocabulary the head takes a third of a step (benchmarks/README.md).
    """
    heads._use_triton = lambda device: True
