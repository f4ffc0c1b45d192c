"""METEOR by nltk, 0–1: words matched by form, stem and synonym, and their order (Banerjee and Lavie 2005).

Synonyms are WordNet's, which has English words only: in other languages words are matched by their form. Values differ
between versions of nltk, and from those of the Java program that papers before 2021 used.
"""

import functools
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from loragrid.errors import UserError
from loragrid.metrics.base import Place, TextOptions, Texts, mean
from loragrid.metrics.tokens import Tokenize, tokenizer
from loragrid.progress import each
from loragrid.words import lower, script_of

VERSION = 1
TITLE = "METEOR"
PLACE: Place = "cpu"
LIBRARIES = ("nltk",)
NEEDS = ("data/wordnet/provenance.json",)

COLUMNS = (mean("meteor", "METEOR", is_brief=True),)

WORDNET = Path("data/wordnet")


class Options(TextOptions):
    """How texts are cut."""

    tokenize: Tokenize = Field("nltk", description="By nltk's word_tokenize, or at white space.")


class _Forms:
    """In place of a stemmer, and of WordNet, for languages that they do not know."""

    def stem(self, word: str) -> str:
        return word

    def synsets(self, word: str) -> list[Any]:
        return []


def items(texts: Texts, options: Options) -> list[dict[str, Any]]:
    """The METEOR of each answer; 0 where nothing matches.

    Raises:
        UserError: WordNet is not there.
    """
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import single_meteor_score

    english = _matching(texts, options) == "form, stem and synonym"
    stemmer, synonyms = (PorterStemmer(), _wordnet()) if english else (_Forms(), _Forms())
    cut = tokenizer(options.tokenize)
    pairs = zip(texts.answers, texts.references, strict=True)
    return [
        {
            "meteor": float(
                single_meteor_score(
                    cut(reference), cut(answer), functools.partial(lower, language=options.language), stemmer, synonyms
                )
            )
        }
        for answer, reference in each(pairs, "scoring by METEOR", len(texts.answers))
    ]


def about(texts: Texts, options: Options) -> dict[str, Any]:
    """How words are matched."""
    return {"tokenizer": options.tokenize, "matching": _matching(texts, options), "wordnet": "3.0"}


def _matching(texts: Texts, options: Options) -> Literal["form, stem and synonym", "form"]:
    """English has all three; where no language is named, so has what is written with spaces."""
    unnamed = options.language is None and script_of(texts.references) == "spaced"
    english = unnamed or options.language == "en"
    return "form, stem and synonym" if english else "form"


@functools.cache
def _wordnet() -> Any:
    import nltk

    # nltk reads below its own folders only.
    nltk.data.path.append(str(WORDNET.resolve()))
    try:
        nltk.data.find("corpora/wordnet")
    except LookupError:
        raise UserError(
            "METEOR needs WordNet, which is not here; get it with: python -m loragrid download --wordnet"
        ) from None
    from nltk.corpus import wordnet

    return wordnet
