"""Requests of jobs that grow from one attempt to the next, and only for the reason that is on record."""

from pathlib import Path

from loragrid.jobs.attempts import OUT_OF_TIME, read_attempts

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
    return sum(attempt.get("ended") == ended for attempt in read_attempts(place))
