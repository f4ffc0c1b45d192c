"""Direct preference optimisation: of two answers the better one is to become likelier than it was.

The loss of a pair is −log σ of the difference of two rewards (Rafailov et al. 2023, equation 7; TRL's DPOTrainer).
"""

from typing import Any

import pyarrow.compute as pc
import torch
from datasets import Dataset
from peft import PeftModel
from torch.nn.functional import logsigmoid
from trl import DPOConfig, DPOTrainer

from loragrid.modeling.chat import Chat
from loragrid.study.recipe import Recipe
from loragrid.training.preferences import COLUMNS, log_probabilities_of
from loragrid.training.state import RunState
from loragrid.training.trainer import RunTrainer

MEASURED = (
    "reward_chosen", "reward_rejected", "reward_margin", "reward_accuracy",
    "log_probability_chosen", "log_probability_rejected",
)  # fmt: skip
"""What is recorded beside the loss, means over pairs. A reward is beta times what an answer has become likelier, in
nats; the margin is the better answer's less the other's; the accuracy is the share of pairs in which it is above 0."""

_IN_TRL = (
    "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected",
)  # fmt: skip


class PreferenceTrainer(RunTrainer, DPOTrainer):
    """TRL's trainer, with what loragrid does its own way."""

    def __init__(self, model: PeftModel, args: DPOConfig, **keywords: Any):
        super().__init__(model, args, **keywords)
        # TRL keeps a copy of the adapter to compare with; here that was done before.
        model.delete_adapter("ref")
        self.precompute_ref_logps = True

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset  # tokenised, and no longer than wanted, as it is

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As above."""
        # Micro-batches are of equal size, so that the mean of their means is that over the pairs.
        logs |= {name: sum(values) / len(values) for name, values in self._metrics["train"].items() if values}
        self._metrics["train"].clear()
        super().log(logs, start_time)

    def step_record(self, logs: dict[str, float]) -> dict[str, float | None]:
        """Rewards and log-probabilities of the pairs of a step."""
        return {name: logs[theirs] for name, theirs in zip(MEASURED, _IN_TRL, strict=True)}

    def sums_of(self, batch: dict[str, Any]) -> list[float]:
        """Losses in nats and pairs, then what is in `MEASURED`, in its order."""
        chosen, rejected = log_probabilities_of(self.model, batch)
        rewards = [
            self.beta * (ours - theirs.double())
            for ours, theirs in ((chosen, batch["ref_chosen_logps"]), (rejected, batch["ref_rejected_logps"]))
        ]
        margins = rewards[0] - rewards[1]
        measured = (-logsigmoid(margins), torch.ones_like(margins), *rewards, margins, margins > 0, chosen, rejected)
        return [values.sum().item() for values in measured]

    def measured(self, sums: list[float]) -> dict[str, float]:
        """Means over the validation pairs."""
        _, pairs, *others = sums
        return {name: value / pairs for name, value in zip(MEASURED, others, strict=True)}


def tokens(rows: Dataset) -> tuple[list[int], list[int]]:
    """Tokens of each pair, with the dialogue once for each answer, and those of the answers, which the loss is of."""
    prompts, *answers = (
        pc.list_value_length(rows.data.column(name)).to_numpy() for name in ("prompt_ids", "chosen_ids", "rejected_ids")
    )
    of_answers = answers[0] + answers[1]
    return (2 * prompts + of_answers).tolist(), of_answers.tolist()


def configuration(arguments: dict[str, Any], recipe: Recipe) -> DPOConfig:
    """TRL's configuration, of what all methods have in common and what is this one's. It opens the process group."""
    return DPOConfig(
        **arguments,
        beta=recipe.beta,
        # TRL's default is to switch off all dropout, the model's own included; it stays where the recipe asks for it.
        disable_dropout=recipe.dropout == 0,
        max_length=None,  # the pairs fit already
        router_aux_loss_coef=0.0,  # as in sft.py
    )


def trainer(
    model: PeftModel, chat: Chat, run: RunState, configuration: DPOConfig, train: Dataset, validation: Dataset
) -> PreferenceTrainer:
    """The trainer of a run.

    Args:
        model: base model with a trainable adapter.
        chat: its tokenizer and template.
        run: the run's standing.
        configuration: as above.
        train: pairs with `ref_chosen_logps` and `ref_rejected_logps`, what they are compared with.
        validation: likewise, pairs of like length side by side.
    """
    return PreferenceTrainer(
        model,
        configuration,
        run=run,
        train_dataset=train.select_columns(COLUMNS),
        eval_dataset=validation.select_columns(COLUMNS),
        processing_class=chat.tokenizer,
    )
