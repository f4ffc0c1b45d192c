"""A Trainer of transformers with loragrid's order of rows, validation, checkpoints and records, whatever its method.

A method is a thin class below this one and one of TRL's trainers; what a training has reached is in its `RunState`.
"""

import contextlib
import math
from dataclasses import asdict
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from peft.optimizers import create_loraplus_optimizer
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from loragrid.errors import UserError
from loragrid.modeling.load import trainable_parameters
from loragrid.modeling.repeatable import Repeatable
from loragrid.training.order import WholeTraining
from loragrid.training.randomness import random_states, set_random_states
from loragrid.training.reports import go_on
from loragrid.training.shards import data_parallel, is_sharded
from loragrid.training.state import RunState
from loragrid.training.validation import sums_over


class RunTrainer(Trainer):
    """Trains one run, from its beginning or from its newest checkpoint.

    Args:
        model: base model with a trainable adapter.
        args: TRL's configuration.
        run: the run's standing.
        train_dataset: rows as the method's collator takes them.
        eval_dataset: likewise; rows of like length side by side are padded less.
        **keywords: the rest of TRL's.
    """

    def __init__(
        self,
        model: PeftModel,
        args: TrainingArguments,
        *,
        run: RunState,
        train_dataset: Dataset,
        eval_dataset: Dataset,
        **keywords: Any,
    ):
        # TRL casts the adapter of a quantised base to bfloat16, which a T4 cannot scale gradients of and which makes a
        # resumed run drift by 2e-3: the weights are put back as they were, in float32.
        weights = {name: weight.detach().clone() for name, weight in trainable_parameters(model).items()}
        super().__init__(model, args=args, train_dataset=train_dataset, **keywords)
        run.adapter = trainable_parameters(model)
        for name, weight in run.adapter.items():
            weight.data = weights[name].float().to(weight.device)
        self.run = run
        self.repeatable = Repeatable()
        self.validation = DataLoader(
            eval_dataset,
            batch_size=args.per_device_eval_batch_size,
            collate_fn=self.data_collator,
            generator=torch.Generator(),  # else each pass would draw from the generator that dropout draws from
        )
        self.add_callback(_Steps(self))
        self.remove_callback(PrinterCallback)  # it would print each step's log

    # -- what a method says of itself

    def sums_of(self, batch: dict[str, Any]) -> list[float]:
        """What a validation batch adds: the sum of its losses, of how many things, and whatever else is measured."""
        raise NotImplementedError

    def measured(self, sums: list[float]) -> dict[str, float]:
        """What sums over all batches say beside the loss, for the records."""
        return {}

    def step_record(self, logs: dict[str, float]) -> dict[str, float | None]:
        """What a training step says beside loss, learning rate and gradient norm, from the Trainer's log."""
        return {}

    # -- gradients

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Leave the gradients of a micro-batch, the same bytes each time."""
        random = random_states() if self.repeatable.holds else {}
        step = super().training_step

        def begin_again(error: Exception) -> None:
            # Each step does the same operations, so that this is the first; of several processes, others have gone on.
            if self.run.has_stepped or self.run.ranks.size > 1:
                raise error
            model.zero_grad()
            set_random_states(random)

        return self.repeatable.make(lambda: step(model, inputs, num_items_in_batch), begin_again)

    # -- the order of rows

    def _get_train_sampler(self, train_dataset: Any = None) -> WholeTraining:
        return self.run.order

    def _wrap_model(self, model: Any, training: bool = True, dataloader: DataLoader | None = None) -> Any:
        if training and is_sharded(model):
            return data_parallel(model, self.accelerator)
        return super()._wrap_model(model, training, dataloader)

    # -- the optimiser

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Transformers' own, or PEFT's for LoRA+, in which B learns faster than A (Hayou et al. 2024)."""
        if self.run.loraplus == 1:
            return super().create_optimizer(model)
        adapted: Any = self.model
        kind, settings = self.get_optimizer_cls_and_kwargs(self.args, adapted)
        self.optimizer = create_loraplus_optimizer(
            adapted,
            kind,
            loraplus_lr_ratio=self.run.loraplus,
            loraplus_weight_decay=self.args.weight_decay,
            **settings,
        )
        return self.optimizer

    # -- records

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Append a step's loss to training.jsonl."""
        if "loss" not in logs:
            return  # the summary at the end; run.json has its own
        step = self.state.global_step
        if not math.isfinite(logs["loss"]):
            raise UserError(self._diverged("training loss", logs["loss"], "a lower learning rate or a longer warm-up"))
        norm = logs.get("grad_norm", math.nan)
        if not math.isfinite(norm) and not self._may_overflow():
            raise UserError(self._diverged("norm of the gradient", norm, "a lower learning rate or alpha"))
        self.run.stepped(
            step,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            # Under fp16 the first gradients overflow, until the scaler has found its scale; JSON knows no infinity.
            grad_norm=norm if math.isfinite(norm) else None,
            **self.step_record(logs),
        )
        self.run.reporter.reach(step, logs["loss"])
        self._report(logs)

    def _scaler(self) -> Any:
        """That of fp16's gradients; None in other precisions."""
        return self.accelerator.scaler

    def _may_overflow(self) -> bool:
        """Whether a gradient that is not finite is none to stop for: fp16's scaler skips the step and scales less."""
        scaler = self._scaler()
        # At less than 1 it is not the scale that is too much.
        return scaler is not None and scaler.get_scale() >= 1

    def _diverged(self, what: str, value: float, helps: str) -> str:
        step, rate = self.state.global_step, self.args.learning_rate
        return f"the {what} is {value} at step {step} (learning_rate {rate:g}): {helps} usually helps"

    def _report(self, logs: dict[str, float]) -> None:
        """Pass a log on to what draws curves while the training runs."""
        if self.args.report_to:
            self.control = self.callback_handler.on_log(self.args, self.state, self.control, logs)

    # -- validation

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation loss: a mean over the whole of the rows, whatever the micro-batch.

        The Trainer's own is a mean of batch means, which depends on how rows fall into batches. Told to stop, it is
        left to the next attempt.
        """
        self.control.should_evaluate = False  # else the Trainer does it again after the last step
        model: Any = self.model
        model.eval()
        sums = sums_over(self.validation, self._sums_here, self.run.ranks, self.run.clock)
        model.train()
        if sums is None:
            self.run.clock.stop_together()
            self.control.should_save = self.control.should_training_stop = True
            return {}
        loss, step = sums[0] / sums[1], self.state.global_step
        if not math.isfinite(loss):
            raise UserError(self._diverged("validation loss", loss, "a lower learning rate"))
        others = self.measured(sums)
        self.run.validated(loss, step, **others)
        self._report({"eval_loss": loss, **{f"eval_{name}": value for name, value in others.items()}})
        if self.run.stops_early:
            print(f"the validation loss has not fallen since step {self.run.best.found['step']}: ends here", flush=True)
            self.control.should_training_stop = True
        return {"eval_loss": loss}

    def _sums_here(self, batch: dict[str, Any]) -> list[float]:
        return self.sums_of(self._prepare_inputs(batch))

    # -- checkpoints, in place of the Trainer's, which pickles

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.run.remember_random()
        self.save()

    def save(self) -> None:
        """Save a checkpoint of the last whole step."""
        self.run.save(
            self.state.global_step, self.optimizer, self.lr_scheduler, self.accelerator.scaler, asdict(self.state)
        )

    def resume(self) -> None:
        """Train, from the newest whole checkpoint if there is one.

        Raises:
            Interrupted: told to stop; the checkpoint is saved.
        """
        found = self.run.find_checkpoint()
        if self.args.report_to and self.run.is_main:
            go_on(self.callback_handler.callbacks, self.run.began_at)
        with contextlib.suppress(_AtItsEnd):
            self.train(resume_from_checkpoint=str(found) if found else None)
        self.run.saved = None
        if self.run.validated_at < self.run.ended_at:  # the last of the validations is after the last step
            self.run.check(self.state.global_step)
            raise RuntimeError(f"the training ended at step {self.state.global_step} without being told to")
        self.run.check_steps_were_taken()

    # The Trainer calls these with the folder that `resume` found; what it holds is in `run.saved`.

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.run.restore_adapter()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if (saved := self.run.saved) is not None:
            optimizer: Any = self.optimizer
            scheduler: Any = self.lr_scheduler
            optimizer.load_state_dict(saved.optimizer)
            scheduler.load_state_dict({**scheduler.state_dict(), **saved.scheduler})

    def _load_scaler(self, checkpoint: str | None) -> None:
        # No state: saved on a GPU that computes in bf16, or on a CPU.
        saved = self.run.saved
        if saved is not None and saved.scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(saved.scaler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        self.run.restore_random()


class _AtItsEnd(Exception):
    """An attempt has nothing left to train: the one before was interrupted after the step at which it ends early."""


class _Steps(TrainerCallback):
    """Tells the run's clock of each step, and the Trainer what to do after it."""

    def __init__(self, trainer: RunTrainer):
        self.trainer = trainer
        self.run = trainer.run

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.run.ranks.rank and self.run.saved is None:
            self.run.seed_rank(state.global_step)
        # An attempt that was told to stop has left the validation at its last step to this one.
        if state.global_step in self.run.validate_at and self.run.validated_at < state.global_step:
            self.trainer.evaluate()
        if self.run.stops_early:
            raise _AtItsEnd  # the Trainer would make another step before it looks

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.run.clock.step_begins()
        if args.gradient_accumulation_steps > 1:
            self.run.remember_random()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A whole step of a large model takes longer than the grace of a preemption: told to stop, what has been
        # accumulated for the next step is dropped. The clock looks two steps ahead and never needs to.
        run = self.run
        if not run.ranks.any(run.stop.signalled):
            return
        run.clock.stop_together()
        if state.global_step > run.began_at:
            self.trainer.save()
        run.check(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        decision = self.run.clock.step_ends()
        if decision == "stop":
            self.run.clock.stop_together()
            control.should_save = control.should_training_stop = True
            return
        control.should_evaluate = state.global_step in self.run.validate_at
        control.should_save = decision == "save"
