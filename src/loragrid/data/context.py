"""What a model reads of a dialogue before what it is asked: without stopwords, or its newest messages alone.

The thesis that this follows (Pushparaj 2024, chapters 4 and 5) took stopwords out of what had been said, so that more
of a conversation fits the same context. Lists are those of stopwords-iso; Chinese is cut into words by jieba.
"""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from loragrid.modeling.messages import Message
from loragrid.words import lower

Language = Literal["en", "tr", "zh"]

_ENDS = re.compile(r"^[\W_]+|[\W_]+$")
_APOSTROPHES = str.maketrans("\u2019\u02bc\uff07", "'''")


def in_context(
    messages: Sequence[Message],
    *,
    stopwords: Literal["keep", "remove"] = "keep",
    language: Language | None = None,
    turns: int | None = None,
    counts: Counter[str] | None = None,
) -> list[Message]:
    """The part of a dialogue that a model reads.

    Stopwords go from its history: from every message but the system's and the last one, which is what is asked. No
    message goes with them: one of which no word would be left stays whole, so that roles alternate as before and a
    dialogue has as many utterances with its stopwords as without.

    Args:
        messages: the dialogue; the last one is what is asked, the first one may be the system's.
        stopwords: whether they stay.
        language: whose they are; needed to remove them.
        turns: at most this many messages are read, the newest, beside the system's. They begin with the user, so they
            are one fewer where the model's would be first.
        counts: to which are added `messages` and `words` of the history, `removed` words, and messages that stayed
            `whole` since they are nothing but stopwords.
    """
    system = list(messages[:1]) if messages and messages[0]["role"] == "system" else []
    said = list(messages[len(system) :])
    if turns is not None:
        said = said[-turns:]
        first = next((place for place, message in enumerate(said) if message["role"] == "user"), 0)
        said = said[first:]
    if stopwords == "remove":
        assert language is not None  # noqa: S101 - a study without it is refused
        counts = Counter() if counts is None else counts
        said[:-1] = [
            {**message, "content": _without_stopwords(message["content"], language, counts)} for message in said[:-1]
        ]
    return [*system, *said]


def _without_stopwords(text: str, language: Language, counts: Counter[str]) -> str:
    """A text without them, line by line; all of it where no word would be left."""
    lines, words, left = [], 0, 0
    for line in text.splitlines():
        pieces = _pieces(line, language)
        kept = [piece for piece in pieces if not _is_stopword(piece, language)]
        words += sum(map(_is_word, pieces))
        left += sum(map(_is_word, kept))
        # A line of stopwords goes; an empty one stays, since it parts paragraphs.
        if kept or not pieces:
            lines.append(" ".join("".join(kept).split()) if language == "zh" else " ".join(kept))
    counts.update(messages=1, words=words, removed=words - left if left else 0, whole=int(words > 0 and not left))
    return "\n".join(lines).strip() if left else text


def _pieces(line: str, language: Language) -> list[str]:
    """What stands between blanks: a word with the signs that are written onto it. In Chinese, words and signs."""
    if language != "zh":
        return line.split()
    import rjieba

    return list(rjieba.cut(line))


def _is_word(piece: str) -> bool:
    return any(character.isalnum() for character in piece)


def _is_stopword(piece: str, language: Language) -> bool:
    return _plain(piece, language) in _stopwords(language)


@functools.cache
def _stopwords(language: Language) -> frozenset[str]:
    import stopwordsiso

    return frozenset(_plain(word, language) for word in stopwordsiso.stopwords(language)) - {""}


def _plain(piece: str, language: Language) -> str:
    """A piece as it is looked up: small letters, one kind of apostrophe, no signs at its ends.

    In Chinese signs are pieces of their own, and many of them are in the list.
    """
    text = lower(unicodedata.normalize("NFC", piece).translate(_APOSTROPHES), language)
    return text if language == "zh" else _ENDS.sub("", text)
