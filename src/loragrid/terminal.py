"""Text for terminals."""


def printable(text: str) -> str:
    """Text with control and invisible characters escaped: what a log or a file holds must not steer a terminal.

    Args:
        text: any text; a tab becomes four blanks.
    """
    text = text.replace("\t", "    ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
