"""Emoji are taken out, whole sequences of them (flags, families, skin tones) included."""

import re

from loragrid.data.records import mapped
from loragrid.data.steps.base import Apply, NoOptions

VERSION = 1

SIGNS = ("©", "®", "™")
"""Signs of a text that may also be shown as pictures."""

Options = NoOptions


def begin(options: NoOptions) -> Apply:
    """See `loragrid.data.steps.base.Step.begin`."""
    import emoji

    def change(text: str) -> str:
        # Parts of a sequence that was broken up may stand beside each other now.
        while found := [each for each in emoji.emoji_list(text) if each["emoji"] not in SIGNS]:
            for each in reversed(found):
                before, after = text[: each["match_start"]], text[each["match_end"] :]
                if not before or before[-1].isspace():  # of the blanks on both sides one is left
                    after = re.sub(r"^[ \t]", "", after)
                text = before + after
        return text

    return lambda record, _: mapped(record, change)
