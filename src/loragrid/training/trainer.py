"""TRL's SFTTrainer with loragrid's order of rows, validation, checkpoints and records.

Several processes (ranks) train one run together, each on its share of every effective batch. What they do, they decide
together: one that stopped or saved alone would leave the others waiting for ever.
"""

import itertools
import json
import math
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from loragrid.errors import UserError
from loragrid.files import write_jsonl
from loragrid.jobs.stop import Stop
from loragrid.modeling.environment import stream
from loragrid.modeling.load import trainable_parameters
from loragrid.training import checkpoint as checkpoints
from loragrid.training.order import WholeTraining
from loragrid.training.ranks import Ranks
from loragrid.training.shards import data_parallel, is_sharded


class RunTrainer(SFTTrainer):
    """Trains one run, from its beginning or from its newest checkpoint.

    Args:
        model: base model with a trainable adapter.
        args: TRL's configuration.
        work: the run's work folder, where training.jsonl and checkpoints grow.
        order: the rows of the whole training.
        steps_per_epoch: for the epoch in the records.
        validate_at: optimiser steps after which the validation loss is measured.
        keep_best: remember the adapter of the lowest validation loss, for `use_best`.
        checkpoint_seconds: seconds between checkpoints.
        stop: tells when to save a checkpoint and end.
        train_dataset: rows with `input_ids` and `labels`.
        eval_dataset: likewise; rows of like length side by side are padded less.
        **keywords: the rest of SFTTrainer's.
    """

    def __init__(
        self,
        model: PeftModel,
        args: SFTConfig,
        *,
        work: Path,
        order: WholeTraining,
        steps_per_epoch: int,
        validate_at: set[int],
        keep_best: bool,
        checkpoint_seconds: float,
        stop: Stop,
        train_dataset: Dataset,
        eval_dataset: Dataset,
        **keywords: Any,
    ):
        # The constructor casts the adapter of a quantised base to bfloat16, which a T4 cannot scale gradients of and
        # which makes a resumed run drift by 2e-3: the weights are put back as they were, in float32.
        weights = {name: weight.detach().clone() for name, weight in trainable_parameters(model).items()}
        super().__init__(model, args, train_dataset=train_dataset, **keywords)
        self.adapter = trainable_parameters(model)
        for name, weight in self.adapter.items():
            weight.data = weights[name].float().to(weight.device)
        self.work = work
        self.order = order
        self.steps_per_epoch = steps_per_epoch
        self.keep_best = keep_best
        self.stop = stop
        self.ranks = Ranks()
        self.began_at = 0
        self.best: dict[str, float] = {}
        self.best_adapter: dict[str, torch.Tensor] = {}
        self.validated_at = 0
        self.tokens_by_step = order.tokens_by_step()
        self.validation = DataLoader(
            eval_dataset,
            batch_size=args.per_device_eval_batch_size,
            collate_fn=self.data_collator,
            generator=torch.Generator(),  # else each pass would draw from the generator that dropout draws from
        )
        self.saved: checkpoints.Checkpoint | None = None
        self.random: dict[str, torch.Tensor] = {}
        self.clock = _Clock(self, validate_at, checkpoint_seconds)
        self.add_callback(self.clock)

    def _get_train_sampler(self, train_dataset: Any = None) -> WholeTraining:
        return self.order

    def _wrap_model(self, model: Any, training: bool = True, dataloader: DataLoader | None = None) -> Any:
        if training and is_sharded(model):
            return data_parallel(model, self.accelerator)
        return super()._wrap_model(model, training, dataloader)

    # -- records

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Append a step's loss to training.jsonl."""
        self._metrics["train"].clear()  # TRL collects a number for each micro-batch, for a log that is not kept
        if "loss" not in logs:
            return  # the summary at the end; run.json has its own
        step = self.state.global_step
        if not math.isfinite(logs["loss"]):
            raise UserError(
                f"the training loss is {logs['loss']} at step {step}: a lower learning rate or a longer warm-up "
                "usually helps"
            )
        norm = logs.get("grad_norm", math.nan)
        self._record(
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            # Under fp16 the first gradients overflow, until the scaler has found its scale; JSON knows no infinity.
            grad_norm=norm if math.isfinite(norm) else None,
            tokens=self.tokens_by_step[step - 1],
        )

    def _record(self, **values: float | None) -> None:
        step = self.state.global_step
        if self.is_world_process_zero():
            with (self.work / "training.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, "epoch": round(step / self.steps_per_epoch, 6), **values}) + "\n")

    # -- validation

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the validation loss: mean over all answer tokens in nats, whatever the micro-batch.

        The Trainer's own is a mean of batch means, which depends on how rows fall into batches. Nothing random is
        drawn, so it may be done at any time before the next step; told to stop, it is left to the next attempt.
        """
        self.control.should_evaluate = False  # else the Trainer does it again after the last step
        loss = self._validation_loss()
        if loss is None:
            self.control.should_save = self.control.should_training_stop = True
            return {}
        step = self.state.global_step
        if not math.isfinite(loss):
            raise UserError(f"the validation loss is {loss} at step {step}: a lower learning rate usually helps")
        self._record(validation_loss=loss)
        print(f"step {step} of {self.args.max_steps}: validation loss {loss:.4f}", flush=True)
        self.validated_at = step
        if loss < self.best.get("loss", math.inf):
            self.best = {"loss": loss, "step": step}
            if self.keep_best:
                self.best_adapter = {name: weight.detach().cpu().clone() for name, weight in self.adapter.items()}
        return {"eval_loss": loss}

    def _validation_loss(self) -> float | None:
        """The loss, or None if told to stop."""
        model: Any = self.model
        total, count = 0.0, 0
        longest = 0.0
        model.eval()
        with torch.no_grad():
            # Each rank takes every n-th batch. All take equally many, for they decide together before each, and gather
            # shards together; where batches run out, the last round goes on with the first ones, which do not count.
            batches, size = len(self.validation), self.ranks.size
            mine = itertools.islice(itertools.cycle(self.validation), self.ranks.rank, None, size)
            for number in range(self.ranks.rank, math.ceil(batches / size) * size, size):
                if self.ranks.any(self.stop.unless_time_for(2 * longest + self.clock.save_seconds)):
                    self.stop_together()
                    model.train()
                    return None
                began = time.monotonic()
                # The same chunked head as in training: the logits of a batch would not fit a small GPU.
                batch = {name: tensor.to(self.args.device) for name, tensor in next(mine).items()}
                out = model(**batch, fused_lm_head=True)
                if number < batches:
                    total -= out.log_probs.double().sum().item()  # zero where there is no label
                    count += int(out.label_mask.sum())
                longest = max(longest, time.monotonic() - began)
        model.train()
        all_total, all_count = self.ranks.sum([total, count])
        return all_total / all_count

    def use_best(self) -> None:
        """Put the adapter of the lowest validation loss in the place of the last."""
        self._set_adapter(self.best_adapter)

    # -- checkpoints, in place of the Trainer's, which pickles

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.random = _random_states()
        self.save()

    def save(self) -> None:
        """Save a checkpoint of the last whole step: the weights as they are, random states as they were after it."""
        began = time.monotonic()
        random = self.ranks.gather(self.random)
        if self.is_world_process_zero():
            self._write_checkpoint(random)
        self.ranks.wait()
        self.clock.saved(time.monotonic() - began)

    def _write_checkpoint(self, random: dict[str, torch.Tensor]) -> None:
        optimizer: Any = self.optimizer
        scheduler: Any = self.lr_scheduler
        scaler = self.accelerator.scaler
        folder = checkpoints.save(
            self.work / "checkpoints",
            checkpoints.Checkpoint(
                step=self.state.global_step,
                validated_at=self.validated_at,
                adapter={name: weight.detach() for name, weight in self.adapter.items()},
                optimizer=optimizer.state_dict(),
                scheduler=checkpoints.plain_state(scheduler.state_dict()),
                scaler=scaler.state_dict() if scaler is not None else {},
                random=random,
                best=self.best,
                best_adapter=self.best_adapter,
                trainer=asdict(self.state),
            ),
        )
        print(f"saved {folder}", flush=True)

    def stop_together(self) -> None:
        """Let every rank know that another one was told to stop."""
        self.stop.signalled = self.ranks.any(self.stop.signalled)
        self.stop.by_clock = self.ranks.any(self.stop.by_clock)

    def check(self) -> None:
        """End the training here if it has to; what is not saved of it is lost.

        Raises:
            Interrupted: it has to.
        """
        step = self.state.global_step
        self.stop.check(f"at step {step} of {self.args.max_steps}", progress=step > self.began_at)

    def resume(self) -> None:
        """Train, from the newest whole checkpoint if there is one.

        Raises:
            Interrupted: told to stop; the checkpoint is saved.
        """
        found, damaged = checkpoints.newest(self.work / "checkpoints")
        for line in damaged:
            print(f"checkpoint not usable: {line}", flush=True)
        self.saved = checkpoints.load(found) if found else None
        step, validated_at = (self.saved.step, self.saved.validated_at) if self.saved else (0, 0)
        self.began_at = step
        if self.is_world_process_zero():
            _cut_records(self.work / "training.jsonl", step, validated_at)
        print(f"training from step {step} to {self.args.max_steps}", flush=True)
        self.train(resume_from_checkpoint=str(found) if found else None)
        self.saved = None
        if self.validated_at < self.args.max_steps:  # the last of the validations is after the last step
            self.check()
            raise RuntimeError(f"the training ended at step {self.state.global_step} without being told to")

    # The Trainer calls these with the folder that `resume` found; what it holds is in `self.saved`.

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if (saved := self.saved) is None:
            return
        if self.adapter.keys() != saved.adapter.keys():
            raise UserError(f"{resume_from_checkpoint}: holds other parameters than this run's adapter")
        self._set_adapter(saved.adapter)
        self.validated_at = saved.validated_at
        self.best, self.best_adapter = saved.best, saved.best_adapter

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self.saved is not None:
            optimizer: Any = self.optimizer
            scheduler: Any = self.lr_scheduler
            optimizer.load_state_dict(self.saved.optimizer)
            scheduler.load_state_dict({**scheduler.state_dict(), **self.saved.scheduler})

    def _load_scaler(self, checkpoint: str | None) -> None:
        # No state: saved on a GPU that computes in bf16, or on a CPU.
        if self.saved is not None and self.saved.scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(self.saved.scaler)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if self.saved is None:
            return
        own = self.ranks.own(self.saved.random)
        if own:
            _set_random_states(own)
        else:  # saved by fewer ranks
            self.seed_rank()

    def seed_rank(self) -> None:
        """Let this rank draw random numbers of its own, from a stream named by its number and the step."""
        torch.manual_seed(stream(self.args.seed, f"rank {self.ranks.rank} from step {self.state.global_step}"))

    def _set_adapter(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.adapter.items():
                parameter.copy_(weights[name])


class _Clock(TrainerCallback):
    """Decides after each step whether to validate, to save and to stop."""

    def __init__(self, trainer: RunTrainer, validate_at: set[int], checkpoint_seconds: float):
        self.trainer = trainer
        self.validate_at = validate_at
        self.checkpoint_seconds = checkpoint_seconds
        self.last = time.monotonic()
        self.began = time.monotonic()
        # Rows are grouped by length, so steps differ; the longest of the latest is what to reckon with.
        self.steps: deque[float] = deque([0.0], maxlen=50)
        self.save_seconds = 1.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer.ranks.rank and self.trainer.saved is None:
            self.trainer.seed_rank()
        # An attempt that was told to stop has left the validation at its last step to this one.
        if state.global_step in self.validate_at and self.trainer.validated_at < state.global_step:
            self.trainer.evaluate()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.began = time.monotonic()
        if args.gradient_accumulation_steps > 1:
            self.trainer.random = _random_states()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A whole step of a large model takes longer than the grace of a preemption: told to stop, what has been
        # accumulated for the next step is dropped. The clock looks two steps ahead and never needs to.
        trainer = self.trainer
        if not trainer.ranks.any(trainer.stop.signalled):
            return
        trainer.stop_together()
        if state.global_step > trainer.began_at:
            trainer.save()
        trainer.check()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        self.steps.append(now - self.began)
        stop = self.trainer.stop.unless_time_for(2 * max(self.steps) + self.save_seconds)
        save = now - self.last >= self.checkpoint_seconds
        decision = self.trainer.ranks.most(2 if stop else int(save))
        if decision == 2:
            self.trainer.stop_together()
            control.should_save = control.should_training_stop = True
            return
        control.should_evaluate = state.global_step in self.validate_at
        control.should_save = decision == 1

    def saved(self, seconds: float) -> None:
        """Take note that a checkpoint was saved, and how long that took."""
        self.last = time.monotonic()
        self.save_seconds = max(self.save_seconds, seconds)


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


def _cut_records(file: Path, step: int, validated_at: int) -> None:
    """Drop the records of what comes after a checkpoint: they will be written again."""
    if not file.exists():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        # A kill can cut the last line short; it belongs to a step after the checkpoint.
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if record["step"] <= (validated_at if "validation_loss" in record else step):
            kept.append(record)
    write_jsonl(file, kept)
