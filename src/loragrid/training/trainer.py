"""TRL's SFTTrainer with loragrid's order of rows, checkpoints and records."""

import json
import math
import signal
import time
from dataclasses import asdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from loragrid.errors import UserError
from loragrid.files import write_jsonl
from loragrid.modeling.load import trainable_parameters
from loragrid.training import checkpoint as checkpoints
from loragrid.training.order import WholeTraining


class RunTrainer(SFTTrainer):
    """Trains one run, from its beginning or from its newest checkpoint.

    Args:
        model: base model with a trainable adapter.
        args: TRL's configuration.
        work: the run's work folder, where training.jsonl and checkpoints grow.
        order: the rows of the whole training.
        steps_per_epoch: for the epoch in the records.
        validate_at: optimiser steps after which the validation loss is measured.
        checkpoint_seconds: seconds between checkpoints.
        save_best: called when the validation loss is the lowest so far.
        **keywords: the rest of SFTTrainer's.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        args: SFTConfig,
        *,
        work: Path,
        order: WholeTraining,
        steps_per_epoch: int,
        validate_at: set[int],
        checkpoint_seconds: float,
        save_best: Callable[[], None],
        **keywords: Any,
    ):
        # The constructor casts the adapter of a quantised base to bfloat16, which a T4 cannot scale gradients of and
        # which makes a resumed run drift by 2e-3: the weights are put back as they were, in float32.
        weights = {name: weight.detach().clone() for name, weight in trainable_parameters(model).items()}
        super().__init__(model, args, **keywords)
        for name, weight in trainable_parameters(self.model).items():
            weight.data = weights[name].float().to(weight.device)
        self.work = work
        self.order = order
        self.steps_per_epoch = steps_per_epoch
        self.save_best = save_best
        self.best: dict[str, float] = {}
        self.tokens_by_step = order.tokens_by_step()
        self.stop_requested = False
        self.saved: Any = None
        self.add_callback(_Clock(self, validate_at, checkpoint_seconds))

    # -- order of rows

    def _get_train_sampler(self, train_dataset: Any = None) -> WholeTraining:
        return self.order

    # -- records

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Append a line to training.jsonl: a step's loss, or a validation loss."""
        step = self.state.global_step
        record: dict[str, float] = {"step": step, "epoch": round(step / self.steps_per_epoch, 6)}
        if "loss" in logs:
            if not math.isfinite(logs["loss"]):
                raise UserError(
                    f"the training loss is {logs['loss']} at step {step}: a lower learning rate or a longer warm-up "
                    "usually helps"
                )
            record |= {name: logs[name] for name in ("loss", "learning_rate", "grad_norm") if name in logs}
            record["tokens"] = self.tokens_by_step[step - 1]
        elif "validation_loss" in logs:
            record["validation_loss"] = logs["validation_loss"]
        else:
            return  # the summary at the end; run.json has its own
        with (self.work / "training.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation loss: mean over all answer tokens, whatever the micro-batch.

        The Trainer's own is a mean of batch means, which depends on how rows fall into batches.
        """
        loader = DataLoader(self.eval_dataset, batch_size=self.args.per_device_eval_batch_size, collate_fn=self.data_collator)
        total, count = 0.0, 0
        was_training = self.model.training
        self.model.eval()
        with torch.inference_mode(), self.compute_loss_context_manager():
            for batch in loader:
                batch = {name: tensor.to(self.args.device) for name, tensor in batch.items()}
                tokens = int((batch["labels"][:, 1:] != -100).sum())
                total += self.model(**batch).loss.item() * tokens
                count += tokens
        self.model.train(was_training)
        loss = total / count
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} at step {self.state.global_step}")
        self.log({"validation_loss": loss})
        if loss < self.best.get("loss", math.inf):
            self.best = {"loss": loss, "step": self.state.global_step}
            self.save_best()
        return {"eval_loss": loss}

    # -- checkpoints, in place of the Trainer's, which pickles

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        scaler = self.accelerator.scaler
        checkpoints.save(
            self.work / "checkpoints",
            checkpoints.Checkpoint(
                step=self.state.global_step,
                adapter=trainable_parameters(self.model),
                optimizer=self.optimizer.state_dict(),
                scheduler=checkpoints.plain_state(self.lr_scheduler.state_dict()),
                scaler=scaler.state_dict() if scaler is not None else {},
                random=_random_states(),
                best=self.best,
                trainer=asdict(self.state),
            ),
        )

    def resume(self) -> None:
        """Train, from the newest whole checkpoint if there is one."""
        found, damaged = checkpoints.newest(self.work / "checkpoints")
        for line in damaged:
            print(f"checkpoint not usable: {line}", flush=True)
        self.saved = checkpoints.load(found) if found else None
        step = self.saved.step if self.saved else 0
        _cut_records(self.work / "training.jsonl", step)
        print(f"training from step {step} to {self.args.max_steps}", flush=True)
        self.train(resume_from_checkpoint=str(found) if found else None)

    # The Trainer calls these with the folder that `resume` found; what it holds is in `self.saved`.

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        parameters = trainable_parameters(self.model)
        if parameters.keys() != self.saved.adapter.keys():
            raise UserError(f"{resume_from_checkpoint}: holds other parameters than this run's adapter")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(self.saved.adapter[name])
        self.best = self.saved.best

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            self.optimizer.load_state_dict(self.saved.optimizer)
            self.lr_scheduler.load_state_dict({**self.lr_scheduler.state_dict(), **self.saved.scheduler})

    def _load_scaler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(self.saved.scaler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            _set_random_states(self.saved.random)

    @property
    def is_finished(self) -> bool:
        """Whether every step was done."""
        return self.state.global_step >= self.args.max_steps


class _Clock(TrainerCallback):
    """Decides after each step whether to validate, to save and to stop."""

    def __init__(self, trainer: RunTrainer, validate_at: set[int], checkpoint_seconds: float):
        self.trainer = trainer
        self.validate_at = validate_at
        self.checkpoint_seconds = checkpoint_seconds
        self.last = time.monotonic()
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, *_: Any) -> None:
        self.trainer.stop_requested = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_evaluate = state.global_step in self.validate_at
        if self.trainer.stop_requested:
            control.should_save = control.should_training_stop = not self.trainer.is_finished
        elif time.monotonic() - self.last >= self.checkpoint_seconds and not self.trainer.is_finished:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.last = time.monotonic()


def _random_states() -> dict[str, torch.Tensor]:
    """States of the generators that dropout draws from; the order of rows needs none."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if torch.cuda.is_available() and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"])


def _cut_records(file: Path, step: int) -> None:
    """Drop the records after the step that training goes on from: they will be written again."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        # A kill can cut the last line short; it belongs to a step after the checkpoint.
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record["step"] <= step:
            kept.append(record)
    write_jsonl(file, kept)
