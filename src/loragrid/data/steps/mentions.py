"""Names of users (`@115712`, `.@name:`) are taken out; addresses of e-mails stay."""

import re

from loragrid.data.cut import cut
from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply, NoOptions

VERSION = 1

Options = NoOptions

MENTION = re.compile(r"(?<![\w@])\.?@[A-Za-z0-9_]+:?")


def begin(options: NoOptions) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    return lambda record, _: mapped(record, lambda text: cut(MENTION, text))
