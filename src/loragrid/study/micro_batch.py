"""How many examples a GPU takes at a time: it changes memory and speed, and no result."""

MOST_ANSWERS = 64
"""Prompts answered at a time at most: beyond that little is gained, and a batch is what a job that is killed loses."""


def micro_batches(batch_size: int, gpus: int, most: int) -> list[int]:
    """Examples at a time on each GPU, one number for each attempt that ran out of its memory before.

    Each is the largest that divides the GPU's share of the effective batch and is allowed; each attempt that ran out of
    memory halves what is allowed. The last is 1: with less there is nothing to try.

    Args:
        batch_size: the effective batch.
        gpus: that share it.
        most: examples that are allowed at first.
    """
    share = max(1, batch_size // gpus)
    sizes = [_largest_divisor(share, most)]
    while sizes[-1] > 1:
        sizes.append(_largest_divisor(share, sizes[-1] // 2))
    return sizes


def pairs_at_a_time(rows: int, attempts: int) -> int:
    """Pairs of answers whose log-probabilities a GPU computes at a time, of two rows each; 0 if not even one fits.

    Args:
        rows: that are allowed at first, but a pair is there in any case.
        attempts: that ran out of its memory; each halves the pairs.
    """
    return max(1, rows // 2) >> attempts


def answers_at_a_time(micro_batch: int, attempts: int) -> tuple[int, int]:
    """Prompts that are answered at a time, whatever the memory, and where it has room; 0 if not even one fits.

    A row that is answered takes less memory than one that is trained with, so that at first there may be more of them
    than a micro-batch. An attempt that ran out of memory comes back to the micro-batch, and each after it halves that.

    Args:
        micro_batch: rows that are allowed in training.
        attempts: that ran out of the GPU's memory.
    """
    if attempts == 0:
        return micro_batch, max(micro_batch, MOST_ANSWERS)
    fewer = micro_batch >> (attempts - 1)
    return fewer, fewer


def _largest_divisor(number: int, most: int) -> int:
    return max(size for size in range(1, min(number, most) + 1) if number % size == 0)
