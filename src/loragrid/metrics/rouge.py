"""ROUGE-1, -2, -L and -Lsum: F1 of the overlap of words with the reference, 0–1 (Lin 2004, sections 2 and 3).

By Google's rouge-score, and averaged over the items as it is: `evaluate`'s own ROUGE is a median of bootstrap means
that changes with numpy's random state.
"""

from typing import Any

from pydantic import Field

from loragrid.metrics.base import Place, TextOptions, Texts, mean
from loragrid.progress import each
from loragrid.words import words

VERSION = 2
TITLE = "ROUGE"
PLACE: Place = "cpu"
LIBRARIES = ("rouge-score",)
NEEDS: tuple[str, ...] = ()

COLUMNS = (
    mean("rouge1", "ROUGE-1"),
    mean("rouge2", "ROUGE-2"),
    mean("rougeL", "ROUGE-L", is_brief=True),
    mean("rougeLsum", "ROUGE-Lsum"),
)


class Options(TextOptions):
    """How words are compared."""

    stemming: bool = Field(False, description="Compare English words by their stems (Porter), as some papers do.")


class _Tokenizer:
    """The interface that rouge-score expects."""

    def __init__(self, options: Options):
        from nltk.stem.porter import PorterStemmer

        self._language = options.language
        self._stem = PorterStemmer().stem if options.stemming else None

    def tokenize(self, text: str) -> list[str]:
        tokens = words(text, self._language)
        # As rouge-score does: short words stay.
        return [self._stem(token) if len(token) > 3 else token for token in tokens] if self._stem else tokens


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The F1 of each answer by column; 0 for an empty answer.

    ROUGE-Lsum takes each line as a sentence.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([column.name for column in COLUMNS], tokenizer=_Tokenizer(options))
    pairs = zip(texts.answers, texts.references, strict=True)
    return [
        {name: float(score.fmeasure) for name, score in scorer.score(reference, answer).items()}
        for answer, reference in each(pairs, "scoring by ROUGE", len(texts.answers))
    ]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """The tokenizer, which is not that of rouge-score: it would see nothing in a Chinese answer."""
    return {"tokenizer": "words of any script, NFC, lower case"}
