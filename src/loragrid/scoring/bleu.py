"""Corpus BLEU, 0–100, by sacrebleu (Papineni et al. 2002; Post 2018).

Items keep the sufficient statistics instead of a sentence score, so that the corpus value can be resampled.
"""

import re
from typing import Any

NAMES = ("bleu",)
FAMILY = "text"
VERSION = 1
LIBRARY = "sacrebleu"

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def tokenizer_for(references: list[str]) -> str:
    """The tokenizer `zh` where more than half of the references' letters are Chinese, else `13a`."""
    letters = sum(character.isalpha() for reference in references for character in reference)
    return "zh" if 2 * sum(len(_CHINESE.findall(reference)) for reference in references) > letters else "13a"


def items(answers: list[str], references: list[str]) -> list[dict[str, Any]]:
    """The n-gram counts of each answer, n = 1 … 4, under `bleu`."""
    from sacrebleu.metrics.bleu import BLEU

    # The effective order changes sentence scores, which are not used, and not the counts; without it each call warns.
    bleu = BLEU(tokenize=tokenizer_for(references), effective_order=True, force=True)
    scores = [bleu.sentence_score(answer, [reference]) for answer, reference in zip(answers, references, strict=True)]
    return [
        {
            "bleu": {
                "matches": [int(count) for count in score.counts],
                "totals": [int(count) for count in score.totals],
                "answer_tokens": int(score.sys_len),
                "reference_tokens": int(score.ref_len),
            }
        }
        for score in scores
    ]


def signature(references: list[str]) -> str:
    """What sacrebleu asks to be printed with a score: tokenizer, smoothing and version (Post 2018, section 5)."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(tokenize=tokenizer_for(references), force=True)
    bleu.corpus_score(references[:1], [references[:1]])  # the signature is complete only after a score
    return str(bleu.get_signature())
