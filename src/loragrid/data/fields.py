"""Texts of a study with names in braces, `The user feels {emotion}.`, filled from what is known of a record."""

import re
from typing import Any

from loragrid.errors import UserError

NAME = re.compile(r"\{(\w+)\}")


def fill(text: str, known: dict[str, Any], where: str) -> str:
    """A text with each `{name}` replaced.

    Args:
        text: of a study; braces around anything but a name are left as they are.
        known: values by name; what a value holds is not filled in its turn.
        where: the option that the text comes from, for the message.

    Raises:
        UserError: a name is not known.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UserError(f"{where}: there is no {{{match[1]}}}; the records have {', '.join(known) or 'nothing'}")
        return str(known[match[1]])

    return NAME.sub(value, text)
