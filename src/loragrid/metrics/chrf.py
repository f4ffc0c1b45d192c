"""chrF of the corpus, 0–100, by sacrebleu: F-score of character n-grams (Popović 2015); needs no words of a language.

Items keep the sufficient statistics, so that the corpus value can be resampled.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loragrid.metrics.base import Column, Item, Place, TextOptions, Texts

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
TITLE = "chrF"
PLACE: Place = "cpu"
LIBRARIES = ("sacrebleu",)
NEEDS: tuple[str, ...] = ()

ORDER, BETA = 6, 2
"""Longest n-gram, and how much more recall counts than precision: sacrebleu's chrF2."""


class Options(TextOptions):
    """None of its own: characters are the same in every language."""


def _statistics(items: Sequence[Item]) -> "np.ndarray":
    import numpy as np

    return np.array([item["chrf"] for item in items], dtype=np.float64)


def _value(sums: "np.ndarray") -> "np.ndarray":
    """F-score of mean precision and mean recall over the orders that both sides have (Popović 2015, section 2).

    Args:
        sums: for each order the n-grams of answers, of references, and those in common, shape (…, 18).
    """
    import numpy as np

    answers, references, matches = (sums[..., index::3] for index in range(3))
    there = (answers > 0) & (references > 0)
    orders = np.maximum(there.sum(axis=-1), 1)
    precision = np.where(there, matches / np.where(there, answers, 1), 0).sum(axis=-1) / orders
    recall = np.where(there, matches / np.where(there, references, 1), 0).sum(axis=-1) / orders
    both = BETA**2 * precision + recall
    return 100 * (1 + BETA**2) * precision * recall / np.where(both > 0, both, 1)


COLUMNS = (Column("chrf", "chrF", True, _statistics, _value, places=2, is_brief=True, bounds=(0.0, 100.0)),)


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The counts of each answer, as `_value` adds them."""
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.helpers import extract_all_char_ngrams

    chrf = CHRF(char_order=ORDER, beta=BETA)
    rows = []
    for answer, reference in zip(texts.answers, texts.references, strict=True):
        of_answer, of_reference = (extract_all_char_ngrams(text, ORDER) for text in (answer, reference))
        counts = []
        for ours, theirs in zip(of_answer, of_reference, strict=True):
            counts += chrf._get_match_statistics(ours, theirs)
        rows.append({"chrf": [int(count) for count in counts]})
    return rows


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """Sacrebleu's signature."""
    from sacrebleu.metrics.chrf import CHRF

    chrf = CHRF(char_order=ORDER, beta=BETA)
    chrf.corpus_score(list(texts.references[:1]), [list(texts.references[:1])])
    return {"signature": str(chrf.get_signature())}
