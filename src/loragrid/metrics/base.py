"""What a metric is: how answers become items, and how items become one number, said once for scoring and resampling.

Most columns are functions of sums over items: each item gives a short vector of statistics, the vectors are added, and
the sum is turned into the value. A mean, a ratio of sums, a mean over groups and corpus BLEU are all of this kind, so
that a resample of the items is one matrix product away from its value. What needs the whole sample (how many different
words there are) is computed once, when the answers are scored, and is not resampled.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:  # the front door imports this package, and should not wait for numpy
    import numpy as np

    from loragrid.modeling.encoder import Encoded, Encoder

Item = Mapping[str, Any]
Statistics = Callable[[Sequence[Item]], "np.ndarray"]

Place = Literal["model", "cpu", "encoder", "judge"]
"""Where a metric's items come from: base and adapter in the generate job, texts alone, an encoder (on a GPU where there
is one), or what a judge said of them."""


class MetricOptions(BaseModel):
    """Base of a metric's settings; a setting at its default is in no key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    NOT_IN_KEY: ClassVar[frozenset[str]] = frozenset()
    """Settings that change how fast and how dear a score is made, and not its values."""


class TextOptions(MetricOptions):
    """Settings of every metric that compares texts."""

    language: str | None = Field(
        None,
        pattern="^[a-z]{2}$",
        description="Of the texts, as an ISO 639-1 code (en, tr, zh, ja …): how they are cut into words. Default: told "
        "from the letters of the references.",
    )
    with_prompt: bool = Field(
        False,
        description="Score the answer with its prompt before it, as the model saw it, which some papers did by "
        "mistake: only to compare with them.",
    )


@dataclass(frozen=True)
class Column:
    """One column of the tables.

    Args:
        name: as in score files and tables; that of its reference library.
        title: for people.
        higher_is_better: direction of improvement; None where there is none, as for the length of answers.
        statistics: items of a score file → their vectors of statistics, shape (items, statistics); None for a value
            of the whole sample, which is not a function of sums.
        value: summed statistics, shape (…, statistics) → values, shape (…). NaN where the metric is undefined.
        places: digits after the point in tables for people.
        is_brief: whether it stands for its metric where there is room for one column only.
        same: statistics that must be equal for two values to be of the same thing, by position.
        unless_same: what to say where they are not; `{who}` stands for what it is compared with.
        bounds: the least and the largest value that it can have, beyond which no interval of a value goes.
    """

    name: str
    title: str
    higher_is_better: bool | None
    statistics: Statistics | None
    value: "Callable[[np.ndarray], np.ndarray]"
    places: int = 3
    is_brief: bool = False
    same: tuple[int, ...] = ()
    unless_same: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def is_sum(self) -> bool:
        """Whether items can be resampled."""
        return self.statistics is not None

    def of(self, items: Iterable[Item]) -> float:
        """The metric of a whole set of items; NaN where it is undefined, as for no items."""
        items = list(items)
        if not items or self.statistics is None:
            return math.nan
        return float(self.value(self.statistics(items).sum(axis=0)))

    def called(self, name: str, title: str) -> "Column":
        """The same column under another name."""
        return replace(self, name=name, title=title)


@dataclass(frozen=True)
class Texts:
    """What is scored.

    Args:
        answers: one text each.
        references: of the same number.
        prompts: what each was an answer to, as the model saw it; None if no metric asks for that.
        encoded: what encodes them, and the references as it has done that once for all answers to them; None if a
            metric has to see to that itself.
    """

    answers: Sequence[str]
    references: Sequence[str]
    prompts: Sequence[str] | None = None
    encoded: "tuple[Encoder, Encoded] | None" = None


class Metric(Protocol):
    """A module of this package.

    `VERSION` is raised when the same answers come to get other values: they are then scored anew. `NEEDS` are files
    that have to be there. Libraries are imported inside functions, because the front door imports every metric. One
    whose columns depend on its settings has a function `columns(options)`, too, and in `COLUMNS` what it always has;
    one that compares answers with somebody else's has `against(options)`, which names whose. One of choices instead of
    answers has `OF_CHOICES`, one that compares answers with no reference has `WITHOUT_REFERENCE`, and one that the
    generate job makes has `sound(items)`, which tells what counts.
    """

    __name__: str
    VERSION: int
    TITLE: str
    PLACE: Place
    LIBRARIES: tuple[str, ...]
    NEEDS: tuple[str, ...]
    Options: type[MetricOptions]
    COLUMNS: tuple[Column, ...]


class TextMetric(Metric, Protocol):
    """A metric that is computed from texts."""

    def items(self, texts: Texts, options: Any) -> list[dict[str, Any]]:
        """What each answer contributes, in the order of the answers; JSON values that `COLUMNS` understand."""

    def whole(self, texts: Texts, options: Any) -> dict[str, float]:
        """Values of columns that are no function of sums; only of a metric that has such."""

    def about(self, texts: Texts, options: Any) -> dict[str, Any]:
        """What else decided the values: tokenizer, signature, encoder; JSON values for the score file."""


def values_of(metric: TextMetric, texts: Texts, options: Any, items: Sequence[Item]) -> dict[str, float]:
    """The value of each column of a metric of texts; NaN where it is undefined.

    Args:
        metric: its module.
        texts: what is scored.
        options: checked settings.
        items: as the metric has made them of the texts.
    """
    of_sample = {} if all(column.is_sum for column in metric.COLUMNS) else metric.whole(texts, options)
    return {column.name: column.of(items) if column.is_sum else of_sample[column.name] for column in metric.COLUMNS}


def mean(
    name: str,
    title: str,
    places: int = 3,
    *,
    higher_is_better: bool | None = True,
    is_brief: bool = False,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Column:
    """A column that is the mean of the items' own values, found in the items under its name."""

    def statistics(items: Sequence[Item]) -> "np.ndarray":
        return _vectors([item[name], 1.0] for item in items)

    return Column(name, title, higher_is_better, statistics, ratio, places, is_brief, bounds=bounds)


def grouped_mean(
    name: str, title: str, of: str, by: str, places: int = 3, *, among: Collection[str] | None = None
) -> Column:
    """A column that is the mean over groups of the means within them, so that each group counts the same.

    Args:
        name: of the column.
        title: for people.
        of: name of the items' own values.
        by: which of the items' `groups` it is about, e.g. `subject`; items without it do not count.
        places: digits after the point.
        among: the groups that count, as far as there are items of them; None for all.
    """

    def statistics(items: Sequence[Item]) -> "np.ndarray":
        import numpy as np

        groups = [item.get("groups", {}).get(by) for item in items]
        groups = [group if among is None or group in among else None for group in groups]
        names = sorted({group for group in groups if group is not None})
        position = {group: index for index, group in enumerate(names)}
        vectors = np.zeros((len(items), 2 * len(names)))
        for row, (item, group) in enumerate(zip(items, groups, strict=True)):
            if group is not None:
                vectors[row, 2 * position[group]] = item[of]
                vectors[row, 2 * position[group] + 1] = 1.0
        return vectors

    def value(sums: "np.ndarray") -> "np.ndarray":
        import numpy as np

        # A group that a resample has left out is no group of it.
        means = ratio(sums.reshape(*sums.shape[:-1], sums.shape[-1] // 2, 2))
        there = ~np.isnan(means)
        return ratio(np.stack([np.where(there, means, 0.0).sum(axis=-1), there.sum(axis=-1)], axis=-1))

    return Column(name, title, True, statistics, value, places, bounds=(0.0, 1.0))


def whole_sample(name: str, title: str, places: int = 3, *, higher_is_better: bool | None = True) -> Column:
    """A column whose value needs all answers at once; the metric's `whole(texts, options)` gives it by name."""

    def value(sums: "np.ndarray") -> "np.ndarray":
        import numpy as np

        return np.full(sums.shape[:-1], np.nan)

    return Column(name, title, higher_is_better, None, value, places)


def sums_of(*fields: Callable[[Item], float]) -> Statistics:
    """Statistics that are numbers of each item."""
    return lambda items: _vectors([field(item) for field in fields] for item in items)


def ratio(sums: "np.ndarray") -> "np.ndarray":
    """The first statistic over the second; NaN where that is 0."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def _vectors(rows: Iterable[Sequence[float]]) -> "np.ndarray":
    import numpy as np

    return np.array(list(rows), dtype=np.float64)
