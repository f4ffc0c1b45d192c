"""Distinct-1 and -2: different words, and pairs of words, in all answers over their number (Li et al. 2016, section 5).

They tell a model that always says the same. They are values of the whole sample: a resample of the answers, in which
some are there twice, would have fewer different words.
"""

from typing import Any

from loragrid.metrics.base import Place, TextOptions, Texts, whole_sample
from loragrid.words import words

VERSION = 1
TITLE = "distinct-n"
PLACE: Place = "cpu"
LIBRARIES: tuple[str, ...] = ()
NEEDS: tuple[str, ...] = ()
WITHOUT_REFERENCE = True

COLUMNS = (whole_sample("distinct1", "distinct-1"), whole_sample("distinct2", "distinct-2"))


class Options(TextOptions):
    """None of its own."""


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """How many words each answer has, and how many different ones."""
    rows = []
    for answer in texts.answers:
        tokens = words(answer, options.language)
        rows.append({"words": len(tokens), "different": len(set(tokens))})
    return rows


def whole(texts: Texts, options: Options) -> dict[str, float]:
    """Both values; NaN where no answer is long enough."""
    values = {}
    for order in (1, 2):
        grams = [
            gram
            for answer in texts.answers
            for gram in zip(*(words(answer, options.language)[start:] for start in range(order)), strict=False)
        ]
        values[f"distinct{order}"] = len(set(grams)) / len(grams) if grams else float("nan")
    return values


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """The tokenizer."""
    return {"tokenizer": "words of any script, NFC, lower case"}
