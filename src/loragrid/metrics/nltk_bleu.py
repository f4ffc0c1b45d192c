"""BLEU of sentences by nltk, 0–1, averaged over the items: what papers mean that score replies one by one.

With smoothing (Chen and Cherry 2014), since most short replies have no 4-gram in common with their reference. Method 4
makes it strange on short ones: an equal reply of two words scores 0.22. It is for comparisons with such papers;
sacrebleu says more.
"""

from typing import Any, Literal

from pydantic import Field

from loragrid.metrics.base import Place, TextOptions, Texts, mean
from loragrid.metrics.tokens import Tokenize, tokenizer

VERSION = 1
TITLE = "BLEU by nltk"
PLACE: Place = "cpu"
LIBRARIES = ("nltk",)
NEEDS: tuple[str, ...] = ()

COLUMNS = (mean("nltk_bleu", "BLEU (nltk)", is_brief=True),)

WEIGHTS = (0.25, 0.25, 0.25, 0.25)


class Options(TextOptions):
    """How texts are cut, and what an order without a match counts."""

    tokenize: Tokenize = Field("split", description="At white space, or by nltk's word_tokenize.")
    smoothing: Literal["method0", "method1", "method2", "method3", "method4", "method5", "method7"] = Field(
        "method4", description="nltk's SmoothingFunction."
    )


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The BLEU of each answer; 0 where a side has no words."""
    return [{"nltk_bleu": value} for value in sentence_bleu(texts, options, WEIGHTS)]


def sentence_bleu(texts: Texts, options: Options, weights: tuple[float, ...]) -> list[float]:
    """Nltk's sentence BLEU of each answer.

    Args:
        texts: answers and references.
        options: tokens and smoothing.
        weights: of the orders.
    """
    from nltk.translate import bleu_score

    cut = tokenizer(options.tokenize)
    smooth = getattr(bleu_score.SmoothingFunction(), options.smoothing)
    values = []
    for answer, reference in zip(texts.answers, texts.references, strict=True):
        tokens, expected = cut(answer), cut(reference)
        both = bool(tokens) and bool(expected)
        value = bleu_score.sentence_bleu([expected], tokens, weights, smooth) if both else 0.0
        values.append(float(value))
    return values


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """The tokens."""
    return {"tokenizer": options.tokenize, "smoothing": options.smoothing}
