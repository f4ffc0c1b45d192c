"""White space around a text, and, only where asked for, within it: indentation and lists are content."""

import re
from typing import Literal

from pydantic import BaseModel, Field

from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply

VERSION = 1


class Options(BaseModel, extra="forbid", frozen=True):
    """Which white space is taken away."""

    within: Literal["keep", "single", "flat"] = Field(
        "keep",
        description="`keep`: only blank lines around a text and blanks at its very end go. `single`: runs of blanks "
        "become one, and lines have none around them, so that indentation is lost. `flat`: line breaks become blanks, "
        "too.",
    )


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    change = {"keep": _around, "single": _single, "flat": _flat}[options.within]
    return lambda record, _: mapped(record, change)


def _around(text: str) -> str:
    # Blanks before the first word are indentation if it stands in the first line.
    return re.sub(r"\A(?:[^\S\n]*\n)+", "", text).rstrip()


def _flat(text: str) -> str:
    return " ".join(text.split())


def _single(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
