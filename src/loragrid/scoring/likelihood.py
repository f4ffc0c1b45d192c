"""Perplexity and bits per byte of the references under the model.

The generate job, which has the model, makes the items: `{"id", "dialogue", "nats", "tokens", "bytes"}` with nats the
negative log-likelihood of the reference's tokens and bytes the length of its UTF-8 text.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from loragrid.errors import UserError
from loragrid.metrics import METRICS

NAMES = ("perplexity", "bits_per_byte")
FAMILY = "likelihood"
VERSION = 1


def summarise(items: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Both metrics over the whole corpus.

    Args:
        items: as above.

    Returns:
        `perplexity` = exp(Σ nats / Σ tokens) and `bits_per_byte` = Σ nats / (ln 2 · Σ bytes).

    Raises:
        UserError: a value is not a finite number: no reference has any text, or the model gives NaN.
    """
    items = list(items)
    values = {name: METRICS[name].of(items) for name in NAMES}
    for name, value in values.items():
        if not math.isfinite(value):
            raise UserError(
                f"{name} of {len(items)} references is {value}: either they have no text, or the model gives NaN or "
                "infinite log-likelihoods (a diverged training, or overflow in fp16)"
            )
    return values
