"""The order of rows: which rows each optimiser step sees.

A pure function of the formatted data's key, the seed and the effective batch size. Processes, micro-batches and
resumption only cut it up, so they change nothing but rounding. (The Trainer's length grouping draws from an unseeded
generator and depends on the per-device batch.)
"""

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

from loragrid.study.steps import steps_per_epoch

BLOCK = 8
"""Effective batches among which rows of like length are brought together: enough to save most of the padding, few
enough that batches stay mixed."""


def epoch_order(lengths: Sequence[int], batch_size: int, seed: str, epoch: int, *, group: bool) -> list[int]:
    """Rows of one epoch, in the order of training; each consecutive `batch_size` of them is one optimiser step.

    Args:
        lengths: tokens of each row.
        batch_size: effective batch size.
        seed: names the stream of random numbers; equal text, equal order, on any machine.
        epoch: 0 for the first.
        group: bring rows of like length into one batch.

    Returns:
        Row numbers, a multiple of `batch_size` of them: the last batch is filled up from the epoch's beginning, so
        that every step has the same size whatever the number of processes.
    """
    generator = random.Random(f"{seed}:{epoch}")
    rows = list(range(len(lengths)))
    generator.shuffle(rows)
    missing = steps_per_epoch(len(rows), batch_size) * batch_size - len(rows)
    rows += [rows[index % len(rows)] for index in range(missing)]
    if not group:
        return rows
    block = BLOCK * batch_size
    # The sort is stable, so rows of equal length stay in their shuffled order.
    blocks = [rows[start : start + block] for start in range(0, len(rows), block)]
    rows = [row for some in blocks for row in sorted(some, key=lengths.__getitem__)]
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    generator.shuffle(batches)
    return [row for batch in batches for row in batch]


class WholeTraining(Sampler[int]):
    """All rows of a whole training as one sequence, so that resuming is skipping.

    Args:
        lengths: tokens of each row.
        batch_size: effective batch size.
        steps: optimiser steps of the training.
        seed: as in `epoch_order`.
        group: as in `epoch_order`.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, steps: int, seed: str, *, group: bool):
        self.lengths = lengths
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.group = group

    def __len__(self) -> int:
        """Rows shown over the whole training."""
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        """Row numbers, epoch after epoch."""
        left = len(self)
        epoch = 0
        while left:
            for row in epoch_order(self.lengths, self.batch_size, self.seed, epoch, group=self.group)[:left]:
                yield row
                left -= 1
            epoch += 1

    def by_step(self, numbers: Sequence[int]) -> list[int]:
        """What the rows of each optimiser step have together.

        Args:
            numbers: one for each row, e.g. its tokens.
        """
        shown = [numbers[row] for row in self]
        return [sum(shown[i : i + self.batch_size]) for i in range(0, len(shown), self.batch_size)]
