"""Tokens for metrics of nltk, which leave that to the caller."""

import re
from collections.abc import Callable
from typing import Literal

from loragrid.words import script_of, words

Tokenize = Literal["split", "nltk"]

_END_OF_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+")


def tokenizer(tokenize: Tokenize, references: list[str], language: str | None) -> Callable[[str], list[str]]:
    """How texts are cut.

    Args:
        tokenize: `split` at white space; `nltk` as its word_tokenize does, so that punctuation is tokens of its own.
        references: whose script decides: where there are no spaces, characters are the tokens.
        language: ISO 639-1 code; None to go by the script.
    """
    if script_of(references, language) not in ("spaced", "korean"):
        return words
    return str.split if tokenize == "split" else _by_nltk


def _by_nltk(text: str) -> list[str]:
    """`word_tokenize` without its model of sentences, which would be a download.

    It is needed there because a full stop is a token only at the end; sentences end here at their signs, so that
    abbreviations inside of one lose theirs.
    """
    from nltk.tokenize import word_tokenize

    sentences = _END_OF_SENTENCE.split(text)
    return [token for sentence in sentences for token in word_tokenize(sentence, preserve_line=True)]
