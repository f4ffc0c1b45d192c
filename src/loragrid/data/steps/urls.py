"""Addresses of web pages are taken out; the full stop or bracket of the sentence around them stays."""

import re

from loragrid.data.cut import cut
from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply, NoOptions

VERSION = 1

Options = NoOptions

# Letters of other scripts, and their punctuation, are the sentence's and not the address's; so is a bracket at the end,
# unless it was opened in the address.
SIGN = r"[^\s<>\"'()\[\]\u0080-\U0010ffff]"
END = r"[^\s<>\"'()\[\].,;:!?\u0080-\U0010ffff]"
URL = re.compile(rf"(?:https?://|www\.)(?:{SIGN}|\({SIGN}*\))*(?:{END}|\({SIGN}*\))")


def begin(options: NoOptions) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    return lambda record, _: mapped(record, lambda text: cut(URL, text))
