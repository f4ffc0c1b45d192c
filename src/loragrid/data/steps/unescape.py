"""Characters that some program wrote in another way: HTML entities (`&amp;`), and `_comma_` for a comma."""

import html
from typing import Literal

from pydantic import BaseModel, Field

from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply

VERSION = 1


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
        text = html.unescape(text)
    return text.replace("_comma_", ",") if "commas" in kinds else text
