"""Words of any script, for what compares texts: metrics, and the search for what training has in common with tests."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Literal

Script = Literal["chinese", "japanese", "korean", "unspaced", "spaced"]

_INVISIBLE = re.compile("[\u00ad\u200b-\u200d\u2060\ufeff]")
_MINUS = re.compile(r"(?<=\d)\s*[-\u2212]\s*(?=\d)")
# Signs that make another question of one stay: 5 > 3, C++, 50 %.
_BETWEEN = re.compile(r"[^\w+<>=*/^%#\u2212]+|_+")

_ASCII_WORD = re.compile(r"[a-z0-9]+")

# Scripts written without spaces between words: their characters are the tokens.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # kana and the repetition mark
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # Chinese characters
)

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_JAPANESE_SHARE = 0.05
"""Kana among the letters of a text that make its Chinese characters Japanese ones; names and quotations have less."""

# Languages with two letters where others have one: a capital I is another letter there.
_DOTLESS = ("tr", "az")


def script_of(texts: Iterable[str], language: str | None = None) -> Script:
    """How most of a text is written, which decides how it can be cut into words.

    Args:
        texts: looked at together.
        language: ISO 639-1 code, e.g. `ja`; None to go by the letters.

    Returns:
        `chinese`, `japanese` or `korean`; `unspaced` for other scripts without spaces between words; else `spaced`.
    """
    named: dict[str, Script] = {
        "zh": "chinese", "ja": "japanese", "ko": "korean", "th": "unspaced", "lo": "unspaced", "my": "unspaced",
        "km": "unspaced",
    }  # fmt: skip
    if language is not None:
        return named.get(language, "spaced")
    text = "".join(texts)
    half = sum(character.isalpha() for character in text) / 2
    kana = len(_KANA.findall(text))
    unspaced = len(_UNSPACED.findall(text))
    if len(_HANGUL.findall(text)) > half:
        return "korean"
    if unspaced > half and kana > 2 * half * _JAPANESE_SHARE:
        return "japanese"
    if len(_CHINESE.findall(text)) > half:
        return "chinese"
    return "unspaced" if unspaced > half else "spaced"


def scripts_of(texts: Iterable[str]) -> dict[Script, int]:
    """How many texts are written how; more than one script may need more than one way of cutting words."""
    return dict(Counter(script_of([text]) for text in texts))


def lower(text: str, language: str | None = None) -> str:
    """A text in small letters, in which the capital İ is an i and not one with a second dot.

    Args:
        text: any text.
        language: ISO 639-1 code; of Turkish and Azerbaijani the capital I is a dotless one.
    """
    if language in _DOTLESS:
        text = text.replace("I", "ı")
    return text.replace("İ", "i").lower()


def words(text: str, language: str | None = None) -> list[str]:
    """Words of any script, lower-cased; equal to rouge-score's own tokenizer on ASCII text.

    That one keeps [a-z0-9] only: it sees nothing in a Chinese answer and cuts Turkish words in pieces.

    Args:
        text: any text.
        language: ISO 639-1 code, for what capital letters become.

    Returns:
        Runs of letters, digits and the marks that belong to them; where a script has no spaces, its characters.
    """
    if text.isascii() and language not in _DOTLESS:
        return _ASCII_WORD.findall(text.lower())
    tokens: list[str] = []
    previous = ""  # what the last character was: part of a spaced word, of an unspaced script, or neither
    for character in lower(unicodedata.normalize("NFC", text), language):
        if unicodedata.category(character).startswith("M"):
            if previous:  # a mark without a letter before it is no word
                tokens[-1] += character
        elif not character.isalnum():
            previous = ""
        elif _UNSPACED.match(character):
            tokens.append(character)
            previous = "unspaced"
        elif previous == "word":
            tokens[-1] += character
        else:
            tokens.append(character)
            previous = "word"
    return tokens


def plain(text: str) -> str:
    """A text as it is compared with another where only its words matter.

    Width, case and ligatures are gone, and the dots of a Turkish i, which the case of an English text changes; what is
    neither a letter nor a digit nor a sign of arithmetic is one blank. A text of which nothing would be left stays.

    Args:
        text: any text.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("i\u0307", "i").replace("ı", "i")
    joined = _BETWEEN.sub(" ", _MINUS.sub("\u2212", _INVISIBLE.sub("", folded))).strip()
    return joined or " ".join(text.split())


def spaced(text: str) -> str:
    """A text with blanks around each character of a script that is written without spaces."""
    return _UNSPACED.sub(r" \g<0> ", text)


def plain_words(text: str) -> list[str]:
    """The words of a text as it is compared with another: faster than `words`, for the search in large datasets.

    Args:
        text: any text.

    Returns:
        The words of `plain`; where a script has no spaces, its characters.
    """
    return spaced(plain(text)).split()
