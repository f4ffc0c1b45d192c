"""ROUGE-1, -2, -L and -Lsum: F1 of the overlap of words with the reference, 0–1 (Lin 2004, sections 2 and 3).

By Google's rouge-score, without stemming, and averaged over the items as it is: `evaluate`'s own ROUGE is a median of
bootstrap means that changes with numpy's random state.
"""

from loragrid.progress import each
from loragrid.words import words

NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
FAMILY = "text"
VERSION = 1
LIBRARY = "rouge-score"


class _Tokenizer:
    """The interface that rouge-score expects."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def items(answers: list[str], references: list[str]) -> list[dict[str, float]]:
    """The F1 of each answer by metric name; 0 for an empty answer.

    ROUGE-Lsum takes each line as a sentence.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(NAMES), tokenizer=_Tokenizer())
    return [
        {name: float(score.fmeasure) for name, score in scorer.score(reference, answer).items()}
        for answer, reference in each(zip(answers, references, strict=True), "scoring", len(answers))
    ]
