"""Text for terminals."""

import io


def escape_what_encodings_lack(*streams: object) -> None:
    """Let what is written hold any sign, e.g. a study's title an arrow: in ASCII it becomes `\\u2192`.

    A name must not decide whether a terminal or a log in another encoding can be written to.

    Args:
        streams: text streams; others are left as they are.
    """
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Text with control and invisible characters escaped: what a log or a file holds must not steer a terminal.

    Args:
        text: any text; a tab becomes four blanks.
    """
    text = text.replace("\t", "    ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
