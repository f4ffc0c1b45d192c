"""Requests of jobs that grow from one attempt to the next, and only for the reason that is on record."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.jobs.attempts import MOST_GROWTH, OUT_OF_TIME, read_attempts

MEMORY_GROWTH = 1.5
"""What the next job asks for, of what was too little for the one before it."""

TIME_GROWTH = 2.0


def memory_factor(place: Path) -> float:
    """By how much a request for memory has grown.

    Args:
        place: the folder with the records of the attempts.
    """
    return MEMORY_GROWTH ** _count(place, "out of host memory")


def grown_minutes(minutes: int, place: Path, longest: int | None = None) -> int:
    """Minutes for the next attempt at work that can only start again.

    Args:
        minutes: for the first attempt.
        place: the folder with the records of the attempts.
        longest: the longest job allowed, in minutes; None if nothing says so.
    """
    grown = round(minutes * TIME_GROWTH ** _count(place, OUT_OF_TIME))
    return min(grown, longest) if longest else grown


def _count(place: Path, ended: str) -> int:
    """How many attempts have ended so since the last one that was not for want of something."""
    try:
        ends = [attempt.get("ended") for attempt in read_attempts(place)]
    except UserError:
        return 0  # a damaged record must not hold up the work; the next attempt begins another one
    since = max((number for number, end in enumerate(ends, 1) if end in ("finished", "failed")), default=0)
    return min(MOST_GROWTH, ends[since:].count(ended))
