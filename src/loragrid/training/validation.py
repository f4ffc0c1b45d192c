"""Sums over the validation rows, which do not depend on how rows fall into batches or processes."""

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from loragrid.training.clock import Clock
from loragrid.training.ranks import Ranks


def sums_over(
    batches: DataLoader,
    sums_of: Callable[[dict[str, Any]], list[float]],
    ranks: Ranks,
    clock: Clock,
) -> list[float] | None:
    """Add up what each batch gives, over all batches and all processes.

    Nothing random is drawn, so it may be done at any time between two steps.

    Args:
        batches: of the validation rows; each process goes through all of them and takes every n-th.
        sums_of: from a batch to numbers that can be added. It runs on all processes in the same order.
        ranks: the processes.
        clock: whether there is time for a batch.

    Returns:
        The sums, or None if told to stop.
    """
    totals: list[float] = []
    longest = 0.0
    # All processes take equally many, for they decide together before each, and gather shards together; where batches
    # run out, the last round goes on with the first ones, which do not count.
    number_of_batches, size = len(batches), ranks.size
    mine = itertools.islice(itertools.cycle(batches), ranks.rank, None, size)
    with torch.no_grad():
        for number in range(ranks.rank, math.ceil(number_of_batches / size) * size, size):
            if clock.has_no_time_for(2 * longest):
                return None
            began = time.monotonic()
            sums = sums_of(next(mine))
            totals = totals or [0.0] * len(sums)
            if number < number_of_batches:
                totals = [total + value for total, value in zip(totals, sums, strict=True)]
            longest = max(longest, time.monotonic() - began)
    return ranks.sum(totals)
