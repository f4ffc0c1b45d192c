"""The optimiser steps of a training, and whether any of them learns."""

import math

from loragrid.errors import UserError


def steps_per_epoch(rows: float, batch_size: int) -> int:
    """Optimiser steps that show every row once."""
    return math.ceil(rows / batch_size)


def total_steps(rows: float, batch_size: int, epochs: float, max_steps: int | None) -> int:
    """Optimiser steps of a training: `max_steps` if given, else of so many epochs (fractions count)."""
    return max_steps or max(1, round(epochs * steps_per_epoch(rows, batch_size)))


def validation_steps(steps: int, per_epoch: int, evaluations: int | str) -> set[int]:
    """The optimiser steps after which a training is validated; the last is always one.

    Args:
        steps: of the whole training.
        per_epoch: of an epoch.
        evaluations: how many, at equal distances, or `epoch`.
    """
    if evaluations == "epoch":
        return {*range(per_epoch, steps, per_epoch), steps}
    number = int(evaluations)
    return {round(steps * part / number) for part in range(1, number + 1)} - {0}


def check_learning_rates(steps: int, warmup: float) -> None:
    """See that some step has a learning rate above 0.

    A warm-up of any share begins with a step at 0 (transformers' `get_linear_schedule_with_warmup` and its kin), and
    only the step after the last would be at 0 again.

    Args:
        steps: of the whole training.
        warmup: share of them over which the learning rate rises.

    Raises:
        UserError: the first step is the only one.
    """
    if warmup and steps == 1:
        raise UserError(
            f"warmup {warmup:g}: the first step of a warm-up has a learning rate of 0, and there is only one step, so "
            "that nothing would be learnt; set `warmup: 0`, or train for more steps (`max_steps`, `epochs`, a smaller "
            "`batch_size`)"
        )
