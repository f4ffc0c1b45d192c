"""Records in other languages than those wanted are dropped.

The language of all texts of a record together is guessed by py3langid (after Lui and Baldwin 2012). Of a few words it
guesses badly: those are kept unless `min_characters` says otherwise.
"""

import functools

from pydantic import BaseModel, Field, field_validator

from loragrid.data.records import Dropped, Record, texts
from loragrid.data.steps.base import Apply

VERSION = 1


class Options(BaseModel, extra="forbid", frozen=True):
    """Which languages are kept."""

    keep: list[str] = Field(min_length=1, description="Codes of languages (ISO 639), such as `[tr, en]`.")
    min_characters: int = Field(20, ge=1, description="Records with fewer letters than this are kept unseen.")

    @field_validator("keep")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for code in value:
            if code not in _languages():
                raise ValueError(f"{code!r} is none of the languages that are told apart: {', '.join(_languages())}")
        return value


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    import py3langid

    def apply(record: Record, split: str) -> Record | Dropped:
        text = "\n".join(texts(record))
        if sum(map(str.isalpha, text)) < options.min_characters:
            return record
        language, _ = py3langid.classify(text)
        return record if language in options.keep else f"language is {language}"

    return apply


@functools.cache
def _languages() -> tuple[str, ...]:
    import py3langid

    return tuple(sorted(language for language, _ in py3langid.rank("a")))
