"""How long answers are, in words, and over the length of the references: most scores depend on it."""

import math
from typing import Any

from loragrid.metrics.base import Column, Place, TextOptions, Texts, mean, ratio, sums_of
from loragrid.words import words

VERSION = 1
TITLE = "length"
PLACE: Place = "cpu"
LIBRARIES: tuple[str, ...] = ()
NEEDS: tuple[str, ...] = ()
WITHOUT_REFERENCE = True

COLUMNS = (
    mean("answer_words", "words an answer", places=1, higher_is_better=None, bounds=(0.0, math.inf)),
    Column(
        "length_ratio",
        "words, answers over references",
        None,
        sums_of(lambda item: item["answer_words"], lambda item: item["reference_words"]),
        ratio,
        places=2,
        bounds=(0.0, math.inf),
    ),
)


class Options(TextOptions):
    """None of its own."""


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """Words of each answer and its reference; where a script has no spaces, its characters."""
    return [
        {
            "answer_words": len(words(answer, options.language)),
            "reference_words": len(words(reference, options.language)),
        }
        for answer, reference in zip(texts.answers, texts.references, strict=True)
    ]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """The tokenizer."""
    return {"tokenizer": "words of any script"}
