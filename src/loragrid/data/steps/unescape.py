"""Characters that some program wrote in another way: HTML entities (`&amp;`), and `_comma_` for a comma."""

import html
import re
from typing import Literal

from pydantic import BaseModel, Field

from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply

VERSION = 1

ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


class Options(BaseModel, extra="forbid", frozen=True):
    """What is written out."""

    kinds: list[Literal["html", "commas"]] = Field(
        ["html"], min_length=1, description="`html`: entities; `commas`: `_comma_`, as EmpatheticDialogues has it."
    )


def begin(options: Options) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""

    def change(text: str) -> str:
        # Twice escaped text (`&amp;amp;`) comes out as it was meant, and a second cleaning finds nothing to change.
        while (new := _once(text, options.kinds)) != text:
            text = new
        return text

    return lambda record, _: mapped(record, change)


def _once(text: str, kinds: list[Literal["html", "commas"]]) -> str:
    if "html" in kinds:
        # With its semicolon only: `?a=1&copy=2` is an address.
        text = ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return text.replace("_comma_", ",") if "commas" in kinds else text
