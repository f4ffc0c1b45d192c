"""Corpus BLEU, 0–100, by sacrebleu (Papineni et al. 2002; Post 2018).

Items keep the sufficient statistics instead of a sentence score, so that the corpus value can be resampled.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loragrid.metrics.base import Column, Item, MetricOptions, Place, Texts

if TYPE_CHECKING:
    import numpy as np

VERSION = 1
TITLE = "BLEU"
PLACE: Place = "cpu"
LIBRARIES = ("sacrebleu",)

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class Options(MetricOptions):
    """None."""


def _statistics(items: Sequence[Item]) -> "np.ndarray":
    import numpy as np

    counts = [item["sacrebleu"] for item in items]
    rows = [[each["answer_tokens"], each["reference_tokens"], *each["matches"], *each["totals"]] for each in counts]
    return np.array(rows, dtype=np.float64)


def _value(sums: "np.ndarray") -> "np.ndarray":
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


COLUMNS = (Column("sacrebleu", "BLEU", True, _statistics, _value, places=2),)


def tokenizer_for(references: Sequence[str]) -> str:
    """The tokenizer `zh` where more than half of the references' letters are Chinese, else `13a`."""
    letters = sum(character.isalpha() for reference in references for character in reference)
    return "zh" if 2 * sum(len(_CHINESE.findall(reference)) for reference in references) > letters else "13a"


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The n-gram counts of each answer, n = 1 … 4, under `sacrebleu`."""
    from sacrebleu.metrics.bleu import BLEU

    # The effective order changes sentence scores, which are not used, and not the counts; without it each call warns.
    bleu = BLEU(tokenize=tokenizer_for(texts.references), effective_order=True, force=True)
    pairs = zip(texts.answers, texts.references, strict=True)
    scores = [bleu.sentence_score(answer, [reference]) for answer, reference in pairs]
    return [
        {
            "sacrebleu": {
                "matches": [int(count) for count in score.counts],
                "totals": [int(count) for count in score.totals],
                "answer_tokens": int(score.sys_len),
                "reference_tokens": int(score.ref_len),
            }
        }
        for score in scores
    ]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """What sacrebleu asks to be printed with a score: tokenizer, smoothing and version (Post 2018, section 5)."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(tokenize=tokenizer_for(texts.references), force=True)
    # The signature is complete only after a score.
    bleu.corpus_score(list(texts.references[:1]), [list(texts.references[:1])])
    return {"signature": str(bleu.get_signature())}
