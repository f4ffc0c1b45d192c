"""Signatures of customer service agents (`^SH`, `.^In`, `^Clarissa`) are taken out; powers (`x^2`, `x^n`) stay."""

import re

from loragrid.data.cut import cut
from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply, NoOptions

VERSION = 1

Options = NoOptions

SIGNATURE = re.compile(r"(?<!\w)\^[A-Za-z]{1,20}\b")


def begin(options: NoOptions) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    return lambda record, _: mapped(record, lambda text: cut(SIGNATURE, text))
