"""How often the likeliest choice is the right one: over all questions, over subjects, and by category of subjects.

The generate job, which has the model, makes the items: `{"id", "dialogue", "groups", "correct", "log_likelihoods"}`
with `groups` the question's `subject`, `correct` 1 or 0, and the log-likelihoods in nats of the choices in their order.
All values are between 0 and 1. A question is a dialogue of its own to whoever resamples.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from pydantic import Field, field_validator

from loragrid.errors import UserError
from loragrid.metrics.base import Column, Item, MetricOptions, Place, grouped_mean, mean

VERSION = 1
TITLE = "accuracy of choices"
PLACE: Place = "model"
LIBRARIES = ("torch", "transformers", "lm-eval")
NEEDS: tuple[str, ...] = ()
OF_CHOICES = True

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Options(MetricOptions):
    """Which means are wanted."""

    categories: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Subjects by category; each has a column, the mean over its subjects. Default: the source's own.",
    )

    @field_validator("categories")
    @classmethod
    def _are_named(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, subjects in value.items():
            if not _NAME.fullmatch(name) or name == "by_subject":
                raise ValueError(f"{name!r} is no name of a column: small letters, digits and _, not `by_subject`")
            if not subjects:
                raise ValueError(f"{name!r} has no subjects")
        return {name: sorted(set(subjects)) for name, subjects in value.items()}


COLUMNS = (
    mean("correct", "accuracy", is_brief=True).called("accuracy", "accuracy"),
    # Each subject counts the same, however many questions it has.
    grouped_mean("accuracy_by_subject", "accuracy by subject", of="correct", by="subject"),
)
"""What each has, whatever its categories."""


def columns(options: Options) -> tuple[Column, ...]:
    """The columns of some categories: each the mean over those of its subjects that are asked."""
    of_categories = (
        grouped_mean(
            f"accuracy_{name}",
            f"accuracy, {name.replace('_', ' ')}",
            of="correct",
            by="subject",
            among=frozenset(subjects),
        )
        for name, subjects in options.categories.items()
    )
    return (*COLUMNS, *of_categories)


def clash(options: Options, other: Options) -> str | None:
    """The category that two evaluations have by one name, with other subjects; None if there is none."""
    return next(
        (
            name
            for name, subjects in options.categories.items()
            if name in other.categories and other.categories[name] != subjects
        ),
        None,
    )


def sound(items: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The items that count: where a choice has no finite likelihood, none is the likeliest.

    Args:
        items: as above.

    Returns:
        The items with finite likelihoods, and the `id` of each other one with the `reason`.

    Raises:
        UserError: none is left.
    """
    kept, excluded = [], []
    for item in items:
        if all(map(math.isfinite, item["log_likelihoods"])):
            kept.append(item)
        else:
            reason = "a choice has no finite log-likelihood: a diverged training, or overflow in fp16"
            excluded.append({"id": item["id"], "reason": reason})
    if not kept:
        reasons = "; ".join(dict.fromkeys(each["reason"] for each in excluded)) or "there are none"
        raise UserError(f"all {len(items)} questions are left out: {reasons}")
    return kept, excluded


def ties(items: Sequence[Item]) -> int:
    """How many items have two likeliest choices, of which the first one counts as in lm-evaluation-harness."""
    return sum(item["log_likelihoods"].count(max(item["log_likelihoods"])) > 1 for item in items)


def coverage(options: Options, subjects: Collection[str]) -> dict[str, dict[str, int]]:
    """Of each category, how many subjects it has (`known`) and how many of them were asked (`asked`)."""
    return {
        name: {"asked": len(set(known) & set(subjects)), "known": len(known)}
        for name, known in options.categories.items()
    }
