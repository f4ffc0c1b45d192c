"""One form for the same characters, and no invisible ones that no reader could see.

Unicode NFC (or NFKC), line breaks as `\\n`, no control characters but tabs and line breaks, no byte order marks.
"""

import re
import unicodedata
from typing import Literal

from pydantic import BaseModel, Field

from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply

VERSION = 1

UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff]")


class Options(BaseModel, extra="forbid", frozen=True):
    """How characters are brought into one form."""

    form: Literal["NFC", "NFKC"] = Field(
        "NFC",
        description="`NFC` changes no character that can be told from another; `NFKC` also makes full-width letters, "
        "ligatures and superscripts plain (ﬁ to fi, ² to 2).",
    )


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    return lambda record, _: mapped(record, lambda text: _changed(text, options.form))


def _changed(text: str, form: Literal["NFC", "NFKC"]) -> str:
    text = re.sub("\r\n|[\r\x0b\x0c\x85]", "\n", text)
    return unicodedata.normalize(form, UNSEEN.sub("", text))
