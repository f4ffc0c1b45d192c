"""BLEU-2 by nltk, 0–1: BLEU of sentences over words and pairs of words only, averaged over the items."""

from typing import Any

from loragrid.metrics import nltk_bleu
from loragrid.metrics.base import Place, Texts, mean

VERSION = 1
TITLE = "BLEU-2"
PLACE: Place = "cpu"
LIBRARIES = ("nltk",)
NEEDS: tuple[str, ...] = ()

COLUMNS = (mean("bleu2", "BLEU-2", is_brief=True),)

WEIGHTS = (0.5, 0.5)

Options = nltk_bleu.Options
about = nltk_bleu.about


def items(texts: Texts, options: nltk_bleu.Options) -> list[dict[str, Any]]:
    """The BLEU-2 of each answer; 0 where a side has no words."""
    return [{"bleu2": value} for value in nltk_bleu.sentence_bleu(texts, options, WEIGHTS)]
