"""Tokens for metrics of nltk, which leave that to the caller."""

import re
from collections.abc import Callable
from typing import Literal

from loragrid.words import spaced

Tokenize = Literal["split", "nltk"]

_END_OF_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+")


def tokenizer(tokenize: Tokenize) -> Callable[[str], list[str]]:
    """How texts are cut. Characters of a script without spaces are tokens, whatever stands around them.

    Args:
        tokenize: `split` at white space; `nltk` as its word_tokenize does, so that punctuation is tokens of its own.
    """
    return _by_nltk if tokenize == "nltk" else _at_white_space


def _at_white_space(text: str) -> list[str]:
    return spaced(text).split()


def _by_nltk(text: str) -> list[str]:
    """`word_tokenize` without its model of sentences, which would be a download.

    It is needed there because a full stop is a token only at the end; sentences end here at their signs, so that
    abbreviations inside of one lose theirs.
    """
    from nltk.tokenize import word_tokenize

    sentences = _END_OF_SENTENCE.split(spaced(text))
    return [token for sentence in sentences for token in word_tokenize(sentence, preserve_line=True)]
