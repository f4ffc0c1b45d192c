"""Perplexity and bits per byte of the references under the model.

The generate job, which has the model, makes the items: `{"id", "dialogue", "nats", "tokens", "bytes", "utterances",
"prompt_tokens"}` with nats the negative log-likelihood of the reference's tokens and bytes the length of its UTF-8
text. The last two tell how long its prompt is, and decide no value.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loragrid.errors import UserError
from loragrid.metrics.base import Column, MetricOptions, Place, ratio, sums_of

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
TITLE = "likelihood of the references"
PLACE: Place = "model"
LIBRARIES = ("torch", "transformers")
NEEDS: tuple[str, ...] = ()


class Options(MetricOptions):
    """None."""


def _perplexity(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    with np.errstate(over="ignore"):
        return np.exp(ratio(sums))


COLUMNS = (
    # exp(Σ nats / Σ tokens) over the whole corpus, not the mean of the texts' perplexities.
    Column(
        "perplexity",
        "perplexity",
        False,
        sums_of(lambda item: item["nats"], lambda item: item["tokens"]),
        _perplexity,
        # One may have a token of its own for the end of answers: the mean over tokens is one over other things.
        same=(1,),
        unless_same="counted in other tokens than those of {who}; bits per byte compares both",
        bounds=(0.0, math.inf),
    ),
    # Σ nats / (ln 2 · Σ bytes): comparable across tokenizers, which perplexity is not.
    Column(
        "bits_per_byte",
        "bits per byte",
        False,
        sums_of(lambda item: item["nats"], lambda item: math.log(2) * item["bytes"]),
        ratio,
        is_brief=True,
        bounds=(0.0, math.inf),
    ),
)


def sound(items: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The items that count: one that has no finite likelihood must not take the others with it.

    Args:
        items: as above.

    Returns:
        The items with a finite likelihood and some text, and the `id` of each other one with the `reason`.

    Raises:
        UserError: none is left.
    """
    kept, excluded = [], []
    for item in items:
        if not math.isfinite(item["nats"]):
            reason = f"its log-likelihood is {item['nats']}: a diverged training, or overflow in fp16"
            excluded.append({"id": item["id"], "reason": reason})
        elif not item["bytes"]:
            excluded.append({"id": item["id"], "reason": "the reference has no text"})
        else:
            kept.append(item)
    if not kept:
        reasons = "; ".join(dict.fromkeys(each["reason"] for each in excluded)) or "there are none"
        raise UserError(f"all {len(items)} references are left out: {reasons}")
    return kept, excluded
