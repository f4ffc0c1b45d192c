"""How a metric's items become one number: said once, used by scoring and by the resampling in reporting.

Every metric here is a function of sums over items: each item gives a short vector of statistics, the vectors are
added, and the sum is turned into the value. A mean, a ratio of sums and corpus BLEU are all of this kind, so that a
resample of the items is one matrix product away from its value.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the front door imports the scoring package, and should not wait for numpy
    import numpy as np

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """One column of the tables.

    Args:
        name: as in score files and tables.
        title: for people.
        higher_is_better: direction of improvement.
        statistics: an item of a score file → its vector of statistics, of the same length for all items.
        value: summed statistics, shape (…, statistics) → values, shape (…). NaN where the metric is undefined.
        places: digits after the decimal point that people are shown.
    """

    name: str
    title: str
    higher_is_better: bool
    statistics: Callable[[Item], list[float]]
    value: "Callable[[np.ndarray], np.ndarray]"
    places: int = 3

    def of(self, items: Iterable[Item]) -> float:
        """The metric of a whole set of items; NaN where it is undefined, as for no items."""
        import numpy as np

        vectors = [self.statistics(item) for item in items]
        if not vectors:
            return math.nan
        return float(self.value(np.asarray(vectors, dtype=np.float64).sum(axis=0)))

    def gain(self, tuned: "np.ndarray", untrained: "np.ndarray") -> "np.ndarray":
        """The difference of values with the sign that makes more than 0 an improvement."""
        return tuned - untrained if self.higher_is_better else untrained - tuned


def mean(name: str, title: str) -> Metric:
    """A metric that is the mean of the items' own values, found in the items under its name; higher is better."""
    return Metric(name, title, True, lambda item: [item[name], 1.0], _ratio)


def _ratio(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[..., 0] / sums[..., 1]


def _perplexity(sums: "np.ndarray") -> "np.ndarray":
    import numpy as np

    with np.errstate(over="ignore"):
        return np.exp(_ratio(sums))


def _bleu_statistics(item: Item) -> list[float]:
    counts = item["bleu"]
    return [counts["answer_tokens"], counts["reference_tokens"], *counts["matches"], *counts["totals"]]


def _bleu(sums: "np.ndarray") -> "np.ndarray":
    """Corpus BLEU-4, 0–100, from summed counts.

    Brevity penalty × geometric mean of the n-gram precisions (Papineni et al. 2002, section 2.3) with exponential
    smoothing: the k-th order without a match counts 1/2^k matches (Chen and Cherry 2014, section 3, technique 3), as
    in sacrebleu.
    """
    import numpy as np

    answer, reference, matches, totals = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    unmatched = matches == 0
    smoothed = np.where(unmatched, 0.5 ** np.cumsum(unmatched, axis=-1), matches)
    # Where an order has no n-grams at all BLEU is 0; the 1 only keeps the logarithm defined.
    precision = 100 * smoothed / np.where(totals > 0, totals, 1)
    penalty = np.exp(np.minimum(0, 1 - reference / np.where(answer > 0, answer, 1)))
    score = penalty * np.exp(np.log(precision).mean(axis=-1))
    return np.where((totals > 0).all(axis=-1) & (matches > 0).any(axis=-1), score, 0.0)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        # exp(Σ nats / Σ tokens) over the whole corpus, not the mean of the texts' perplexities.
        Metric("perplexity", "perplexity", False, lambda item: [item["nats"], item["tokens"]], _perplexity),
        # Σ nats / (ln 2 · Σ bytes): comparable across tokenizers, which perplexity is not.
        Metric(
            "bits_per_byte", "bits per byte", False, lambda item: [item["nats"], math.log(2) * item["bytes"]], _ratio
        ),
        mean("rouge1", "ROUGE-1"),
        mean("rouge2", "ROUGE-2"),
        mean("rougeL", "ROUGE-L"),
        mean("rougeLsum", "ROUGE-Lsum"),
        Metric("bleu", "BLEU", True, _bleu_statistics, _bleu, places=2),
    )
}
"""All metrics by name, in the order of the tables' columns."""
