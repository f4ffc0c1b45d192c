"""What a training has reached and what survives its interruption, whatever its method.

Several processes (ranks) train one run together, each on its share of every effective batch. What they do, they decide
together: one that stopped or saved alone would leave the others waiting for ever.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loragrid.errors import UserError
from loragrid.jobs.environment import memory_in_use, stream
from loragrid.jobs.standing import Reporter
from loragrid.jobs.stop import Stop
from loragrid.training import checkpoint as checkpoints
from loragrid.training.best import Best
from loragrid.training.clock import Clock
from loragrid.training.order import WholeTraining
from loragrid.training.randomness import random_states, set_random_states
from loragrid.training.ranks import Ranks
from loragrid.training.records import Records


class RunState:
    """One run's standing: where it began, what it has reached, its newest checkpoint.

    Args:
        work: the run's work folder, where training.jsonl and checkpoints grow.
        order: the rows of the whole training.
        tokens: of each row.
        loss_tokens: those of them that the loss is of.
        steps_per_epoch: for the epoch in the records.
        validate_at: optimiser steps after which it is validated.
        patience: validations in a row without a lower loss after which the training ends early; None for never.
        keep_best: remember the adapter of the lowest validation loss.
        checkpoint_seconds: seconds between checkpoints.
        seed: of dropout.
        loraplus: learning rate of B over that of A (LoRA+); 1 for the same.
        stop: tells when to save a checkpoint and end.
    """

    def __init__(
        self,
        work: Path,
        *,
        order: WholeTraining,
        tokens: Sequence[int],
        loss_tokens: Sequence[int],
        steps_per_epoch: int,
        validate_at: set[int],
        keep_best: bool,
        patience: int | None,
        checkpoint_seconds: float,
        seed: int,
        loraplus: float,
        stop: Stop,
    ):
        self.order = order
        self.steps = order.steps
        self.tokens_by_step = order.by_step(tokens)
        self.loss_tokens_by_step = order.by_step(loss_tokens)
        self.validate_at = validate_at
        self.patience = patience
        self.seed = seed
        self.loraplus = loraplus
        self.stop = stop
        self.ranks = Ranks()
        self.is_main = self.ranks.rank == 0
        self.records = Records(work / "training.jsonl", steps_per_epoch, writes=self.is_main)
        self.reporter = Reporter(work if self.is_main else None)
        self.usage = Records(work / "usage.jsonl", steps_per_epoch, writes=self.is_main)
        self.best = Best(keeps_weights=keep_best)
        self.clock = Clock(stop, self.ranks, checkpoint_seconds)
        self.adapter: dict[str, torch.nn.Parameter] = {}
        self.began_at = 0
        self.has_stepped = False
        self.validated_at = 0
        self.random: dict[str, torch.Tensor] = {}
        self.saved: checkpoints.Checkpoint | None = None
        self._folder = work / "checkpoints"

    # -- the beginning

    def find_checkpoint(self) -> Path | None:
        """Look for the newest whole checkpoint, and drop the records of what comes after it.

        Returns:
            Its folder; what is in it is in `saved` until `begun`.
        """
        found, damaged = checkpoints.newest(self._folder)
        for line in damaged:
            print(f"checkpoint not usable: {line}", flush=True)
        self.saved = checkpoints.load(found) if found else None
        step, validated_at = (self.saved.step, self.saved.validated_at) if self.saved else (0, 0)
        self.began_at = step
        self.records.cut(step, validated_at)
        self.reporter.begin("steps", step, self.steps)
        self.usage.cut(step, validated_at)
        print(f"training from step {step} to {self.steps}", flush=True)
        return found

    def restore_adapter(self) -> None:
        """Put the checkpoint's weights in the adapter.

        Raises:
            UserError: they are another adapter's.
        """
        if (saved := self.saved) is None:
            return
        if self.adapter.keys() != saved.adapter.keys():
            raise UserError(f"{self._folder}: holds other parameters than this run's adapter")
        self.set_adapter(saved.adapter)
        self.validated_at = saved.validated_at
        self.best.found, self.best.weights = saved.best, saved.best_adapter

    def restore_random(self) -> None:
        """Let dropout go on as it would have, or, with more processes than before, with streams of their own."""
        if self.saved is None:
            return
        if own := self.ranks.own(self.saved.random):
            set_random_states(own)
        else:
            self.seed_rank(self.saved.step)

    def seed_rank(self, step: int) -> None:
        """Let this rank draw random numbers of its own, from a stream named by its number and the step."""
        torch.manual_seed(stream(self.seed, f"rank {self.ranks.rank} from step {step}"))

    # -- on the way

    def stepped(self, step: int, **values: float | None) -> None:
        """Take note of an optimiser step: what comes out the same each time, and apart from it what it took.

        Args:
            step: optimiser steps done.
            **values: loss, learning rate and whatever else the method says.
        """
        self.has_stepped = True
        tokens = self.tokens_by_step[step - 1]
        self.records.add(step, **values, tokens=tokens, loss_tokens=self.loss_tokens_by_step[step - 1])
        seconds = self.clock.last_step
        self.usage.add(
            step,
            seconds=round(seconds, 6),
            tokens_per_second=round(tokens / seconds, 3) if seconds else None,
            memory_bytes=memory_in_use(),
        )

    def validated(self, loss: float, step: int, **others: float) -> None:
        """Take note of a validation.

        Args:
            loss: in nats a token, or what the method minimises.
            step: optimiser steps done.
            **others: what else was measured.
        """
        self.records.add(step, validation_loss=loss, **others)
        print(f"step {step} of {self.steps}: validation loss {loss:.4f}", flush=True)
        self.validated_at = step
        self.best.offer(loss, step, self.adapter)

    @property
    def stops_early(self) -> bool:
        """Whether the training ends before its last step, since the validation loss has not fallen for too long.

        It follows from what a checkpoint holds, so that a resumed training ends at the same step.
        """
        if self.patience is None or not self.best.found or self.validated_at >= self.steps:
            return False
        since = [step for step in self.validate_at if self.best.found["step"] < step <= self.validated_at]
        return len(since) >= self.patience

    @property
    def ended_at(self) -> int:
        """Optimiser steps of a training that has ended."""
        return self.validated_at if self.stops_early else self.steps

    def remember_random(self) -> None:
        """Keep the random states as they are, for a checkpoint that is saved later."""
        self.random = random_states()

    def save(self, step: int, optimizer: Any, scheduler: Any, scaler: Any, trainer: dict[str, Any]) -> None:
        """Save a checkpoint of the last whole step: the weights as they are, random states as they were after it.

        Args:
            step: optimiser steps done.
            optimizer: whose state is saved, as are the scheduler's and the scaler's (None without fp16).
            scheduler: likewise.
            scaler: likewise.
            trainer: the Trainer's own state, JSON values.
        """
        began = time.monotonic()
        random = self.ranks.gather(self.random)
        if self.is_main:
            folder = checkpoints.save(
                self._folder,
                checkpoints.Checkpoint(
                    step=step,
                    validated_at=self.validated_at,
                    adapter={name: weight.detach() for name, weight in self.adapter.items()},
                    optimizer=optimizer.state_dict(),
                    scheduler=checkpoints.plain_state(scheduler.state_dict()),
                    scaler=scaler.state_dict() if scaler is not None else {},
                    random=random,
                    best=self.best.found,
                    best_adapter=self.best.weights,
                    trainer=trainer,
                ),
            )
            print(f"saved {folder}", flush=True)
        self.ranks.wait()
        self.clock.saved(time.monotonic() - began)

    def check(self, step: int) -> None:
        """End the training here if it has to; what is not saved of it is lost.

        Raises:
            Interrupted: it has to.
        """
        self.stop.check(f"at step {step} of {self.steps}", progress=step > self.began_at)

    def check_steps_were_taken(self) -> None:
        """See that a training that has ended has changed its adapter.

        Raises:
            UserError: the gradients of each step overflowed, so that fp16's scaler has skipped them all.
        """
        if self.is_main and not self.records.has_finite_gradients():
            raise UserError(
                f"the gradients of all {self.steps} steps overflowed in fp16, so that none was taken: a lower learning "
                "rate or alpha usually helps, or more steps, of which the first ones find the scale"
            )

    def set_adapter(self, weights: dict[str, torch.Tensor]) -> None:
        """Put weights in the adapter, by name."""
        with torch.no_grad():
            for name, parameter in self.adapter.items():
                parameter.copy_(weights[name])

    def use_best(self) -> None:
        """Put the adapter of the lowest validation loss in the place of the last."""
        self.set_adapter(self.best.weights)

    def losses(self) -> dict[str, Any]:
        """What run.json says of the losses."""
        best = self.best.found
        return {**self.records.losses(), "best_validation": best["loss"], "best_step": best["step"]}
