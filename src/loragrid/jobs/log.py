"""What a log tells of how a rule ended."""

import re
from pathlib import Path

from loragrid.jobs.tail import last_lines

_TOLD = re.compile(
    r"loragrid: (?P<told>.+)|(?P<raised>(?:\w+\.)*\w*(?:Error|Exception)(?:: .*)?)|\S*python\S*: (?P<python>.+)"
)
"""A message for the user, the last line of a traceback, or Python's own."""

LINES = 50
"""Looked at from the end: an error is among the last that a stage prints."""


def error_in(log: Path, since: float = 0.0) -> str:
    """The error that a log ends with, in a line; empty if it ends with none.

    Args:
        log: the log of a rule.
        since: moment (seconds since 1970) before which what it says is out of date.
    """
    try:
        if log.stat().st_mtime < since:
            return ""
    except OSError:
        return ""
    for line in reversed(last_lines(log, LINES)):
        if found := _TOLD.fullmatch(line):
            return found["told"] or found["raised"] or found["python"]
    return ""
