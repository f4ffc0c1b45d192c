"""Progress bars for long work that somebody starts by hand: on a terminal only, so that logs stay clean."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from loragrid.terminal import printable

Item = TypeVar("Item")


@contextmanager
def bar(
    what: str, total: int | None = None, *, done: int = 0, is_bytes: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error for the length of a block.

    Args:
        what: is done, in few words.
        total: when it is; None if nobody knows.
        done: already, at the beginning.
        is_bytes: whether numbers are bytes.

    Yields:
        A function that takes how much more has been done.
    """
    if not sys.stderr.isatty():
        yield lambda advance: None
        return
    # Jobs, whose output goes into logs, do not pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    counted = DownloadColumn() if is_bytes else MofNCompleteColumn()
    with Progress(
        *columns,
        counted,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what is printed goes above the bar, but not if it goes to a file
    ) as progress:
        task = progress.add_task(printable(what), total=total, completed=done)
        yield lambda advance: progress.advance(task, advance)


def each(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Go through items, with a bar.

    Args:
        items: to go through.
        what: is done with them.
        total: how many there are; None if nobody knows.
    """
    with bar(what, total) as advance:
        for item in items:
            yield item
            advance(1)
