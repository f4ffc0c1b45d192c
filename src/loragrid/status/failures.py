"""What has failed in a study: why, the end of its log, and how to try again."""

from collections.abc import Iterator
from pathlib import Path

from loragrid.jobs.tail import last_lines
from loragrid.status.cell import Failure
from loragrid.status.overview import Overview
from loragrid.terminal import printable


def describe_failures(overview: Overview, lines: int) -> str:
    """Every failure; what only follows from another one is named with that.

    Args:
        overview: where the study stands.
        lines: of each log.
    """
    failures = overview.failures()
    if not failures:
        return f"{overview.grid.study}: nothing has failed"
    following: dict[Path, list[str]] = {}
    for who, failure in failures:
        if failure.blocked_by:
            following.setdefault(failure.blocked_by, []).append(f"{failure.title} of {who}")
    # A parent's failure may belong to another study.
    own = {failure.record for _, failure in failures if failure.record}
    causes = [
        (who, failure) for who, failure in failures if failure.blocked_by is None or failure.blocked_by not in own
    ]
    # Members of one job share its log.
    first: dict[Path | None, int] = {}
    for index, (_, failure) in enumerate(causes):
        if failure.blocked_by is None:
            first.setdefault(failure.log, index)
    parts = [
        "\n".join(_part(who, failure, following, lines if first.get(failure.log) == index else 0))
        for index, (who, failure) in enumerate(causes)
    ]
    return "\n\n".join(parts)


def _part(who: str, failure: Failure, following: dict[Path, list[str]], lines: int) -> Iterator[str]:
    attempt = f", attempt {failure.attempt}" if failure.attempt else ""
    yield printable(f"{who}: {failure.title} failed{attempt}" if who else f"{failure.title} failed")
    first, *more = failure.reason.splitlines() or [""]
    yield f"  reason: {printable(first)}"
    yield from (f"          {printable(line)}" for line in more)
    if failure.log and failure.blocked_by is None:
        yield f"  log: {printable(str(failure.log))}{'' if lines else ' (above)'}"
        yield from (f"  | {printable(line)}" for line in (last_lines(failure.log, lines) if lines else ()))
    for other in following.get(failure.record, []) if failure.record else []:
        yield f"  cannot go on because of it: {printable(other)}"
    cause = failure.blocked_by or failure.record
    mend = f" and delete {cause}" if cause else ", start the workflow again"
    yield f"  to try again: mend the cause{printable(mend)}"
