"""Take something out of a text so that no gap is left."""

import re


def cut(pattern: re.Pattern[str], text: str) -> str:
    """A text without what a pattern finds, and without the blanks that would be left over.

    Args:
        pattern: finds at least one character, no white space at its ends.
        text: any text.

    Returns:
        The text; where nothing was found, the same.
    """
    found = re.compile(rf"(?:[ \t]*(?:{pattern.pattern}))+[ \t]*", pattern.flags)
    # What stood beside it may now be found as well.
    while (new := found.sub(_gap, text)) != text:
        text = new
    return text


def _gap(match: re.Match[str]) -> str:
    """One blank between two words; none at the ends of lines, inside brackets, and before a comma or full stop."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    if not before or before[-1].isspace() or not after or after[0] == "\n":
        return ""
    if before[-1] in "([{" or after[0] in ")]}":
        return ""
    if re.match(r"[.,!?;:](?:\s|$)", after):
        return ""
    # Words that it stood between stay apart; where no blank was, and no words are, none is wanted.
    is_apart = match[0][0] in " \t" or match[0][-1] in " \t" or (before[-1].isalnum() and after[0].isalnum())
    return " " if is_apart else ""
