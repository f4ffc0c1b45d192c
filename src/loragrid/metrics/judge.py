"""What a model thinks of the answers: numbers by a rubric, or which of two answers is better.

The judgements are made before (`loragrid.judging`), where there is internet; here they become items. A reply that could
not be read counts in `judge_parse_failures` and in nothing else. Repeats of one item are averaged before items are
resampled.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field, model_validator

from loragrid.metrics.base import Column, Item, MetricOptions, Place, ratio, sums_of, whole_sample
from loragrid.metrics.rubric import BETTER, NamedRubric
from loragrid.study.opponents import UNTRAINED

VERSION = 1
TITLE = "judge"
PLACE: Place = "judge"
LIBRARIES = ("scipy",)
NEEDS: tuple[str, ...] = ()
WITHOUT_REFERENCE = True


class Options(MetricOptions):
    """Who judges, by what, and how fast it may be asked."""

    NOT_IN_KEY: ClassVar[frozenset[str]] = frozenset(
        {"requests_per_minute", "tokens_per_minute", "concurrency", "max_requests"}
    )

    model: str = Field(min_length=1, description="Of the judge, as its server calls it; better one with a date.")
    rubric: NamedRubric = Field(
        description="`emotional-support`, `mt-bench`, `pairwise`, or the path of a YAML file of your own."
    )
    temperature: float = Field(0, ge=0, description="Of the judge; 0 for greedy decoding.")
    repeats: int = Field(1, ge=1, le=100, description="Times each answer is judged; with 2 or more its noise is told.")
    seed: int = Field(0, ge=0, description="Of the judge's sampling; each repeat has another one.")
    max_tokens: int = Field(256, ge=1, description="Longest reply in tokens; a model that thinks first needs more.")
    opponent: str = Field(
        UNTRAINED,
        description="Of a `pairwise` rubric: `untrained`, or the name of a point, whose answers to compare with.",
    )
    requests_per_minute: float | None = Field(60, gt=0, description="At most; null for no limit.")
    tokens_per_minute: float | None = Field(None, gt=0, description="At most, prompts and replies together.")
    concurrency: int = Field(4, ge=1, le=256, description="Requests at a time.")
    max_requests: int | None = Field(
        None,
        ge=1,
        description="Most requests for one set of answers: what would take more is refused before the first.",
    )

    @model_validator(mode="after")
    def _has_one_to_compare_with(self) -> "Options":
        if self.opponent != UNTRAINED and not self.rubric.is_pairwise:
            raise ValueError("`opponent` is for a rubric that compares two answers, as `pairwise` does")
        return self


@dataclass(frozen=True)
class Judged:
    """What was said of one answer.

    Args:
        replies: of each repeat, the values of its replies; one, or for two answers one for each order. None for a reply
            that could not be read. Nothing for two equal answers, about which nobody was asked.
        length: words of the answer; of two, how many more it has than the other.
        groups: what the data says of the question, by which means are reported.
    """

    replies: Sequence[Sequence[dict[str, float] | None]]
    length: int
    groups: dict[str, str] = field(default_factory=dict)


def against(options: Options) -> str | None:
    """Whose answers the answers are compared with: `untrained`, or a point's name; None if with nobody's."""
    return options.opponent if options.rubric.is_pairwise else None


def _of_item(name: str, title: str, value: Callable[[Item], float | None], better: bool | None, **more: Any) -> Column:
    """The mean of a value over the items that have it."""
    there = sums_of(lambda item: value(item) or 0.0, lambda item: float(value(item) is not None))
    return Column(name, title, better, there, ratio, **more)


def _value(criterion: str) -> Callable[[Item], float | None]:
    return lambda item: item["values"].get(criterion)


def _in_category(by: str, category: str) -> Callable[[Item], float | None]:
    return lambda item: item["mean"] if item.get("groups", {}).get(by) == category else None


_FAILURES = Column(
    "judge_parse_failures",
    "unreadable",
    None,
    sums_of(lambda item: item["unread"], lambda item: item["replies"]),
    ratio,
    bounds=(0.0, 1.0),
)
_LENGTH = whole_sample("judge_length_correlation", "with length", 2, higher_is_better=None)

COLUMNS = (_LENGTH, _FAILURES)
"""What each judge has, whatever its rubric."""


def columns(options: Options) -> tuple[Column, ...]:
    """The columns of a rubric: its criteria, their mean, categories, and what is to be known of the judge."""
    rubric = options.rubric
    found: list[Column]
    if rubric.is_pairwise:
        found = [
            _of_item("win_rate", "wins", _value(BETTER), True, is_brief=True, bounds=(0.0, 1.0)),
            Column(
                "order_agreement",
                "orders agree",
                None,
                sums_of(lambda item: item["agreed"], lambda item: item["pairs"]),
                ratio,
                bounds=(0.0, 1.0),
            ),
        ]
    else:
        only = len(rubric.criteria) == 1
        found = [
            _of_item(f"judge_{name}", name.replace("_", " "), _value(name), True, places=2, is_brief=only)
            for name in rubric.criteria
        ]
        if not only:
            mean = _of_item("judge_mean", "judge", lambda item: item["mean"], True, places=2, is_brief=True)
            found.append(mean)
        found += [
            _of_item(f"judge_{name}", name.replace("_", " "), _in_category(str(rubric.by), name), True, places=2)
            for name in rubric.categories
        ]
    if options.repeats > 1:
        found.append(_of_item("judge_noise", "noise", lambda item: item["noise"], None))
    return (*found, _LENGTH, _FAILURES)


def items(judged: Sequence[Judged], options: Options) -> list[dict[str, Any]]:
    """What each answer contributes.

    Returns:
        `values` by criterion, averaged over repeats (none if no reply could be read), and their `mean`; `noise`, the
        standard deviation of that over repeats; numbers of `replies` and of those `unread`; `length`; of two answers
        the `pairs` of orders that were read, and those that `agreed`.
    """
    return [_item(each, options) for each in judged]


def _item(judged: Judged, options: Options) -> dict[str, Any]:
    pairwise = options.rubric.is_pairwise
    item: dict[str, Any] = {"groups": judged.groups} if judged.groups else {}
    if pairwise:
        pairs = [[reply[BETTER] for reply in repeat if reply] for repeat in judged.replies]
        both = [pair for pair in pairs if len(pair) == 2]
        # A win, or a loss, is one in both orders.
        results = [{BETTER: pair[0] if pair[0] == pair[1] else 0.5} for pair in both]
        if not judged.replies:
            results = [{BETTER: 0.5}]
        item |= {"pairs": len(both), "agreed": sum(pair[0] == pair[1] for pair in both)}
    else:
        results = [reply for repeat in judged.replies for reply in repeat if reply]
    means = [statistics.fmean(result.values()) for result in results]
    names = results[0] if results else ()
    return item | {
        "values": {name: statistics.fmean(result[name] for result in results) for name in names},
        "mean": statistics.fmean(means) if means else None,
        "noise": statistics.stdev(means) if len(means) > 1 else None,
        "replies": sum(len(repeat) for repeat in judged.replies),
        "unread": sum(reply is None for repeat in judged.replies for reply in repeat),
        "length": judged.length,
    }


def whole(items: Sequence[Item]) -> dict[str, float]:
    """Spearman's correlation of the means with the length of their answers; NaN where one of the two is constant."""
    from scipy.stats import spearmanr

    there = [(item["mean"], item["length"]) for item in items if item["mean"] is not None]
    values, lengths = [value for value, _ in there], [length for _, length in there]
    if len(set(values)) < 2 or len(set(lengths)) < 2:
        return {_LENGTH.name: math.nan}
    return {_LENGTH.name: float(spearmanr(values, lengths).statistic)}
