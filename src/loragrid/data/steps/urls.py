"""Addresses of web pages are taken out; the full stop or bracket of the sentence around them stays."""

import re

from loragrid.data.cut import cut
from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply, NoOptions

VERSION = 1

Options = NoOptions

URL = re.compile(r"(?:https?://|www\.)\S*[^\s.,;:!?)\]'\"…]")


def begin(options: NoOptions) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    return lambda record, _: mapped(record, lambda text: cut(URL, text))
