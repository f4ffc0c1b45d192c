"""One line on how far a batch is, for who trains or asks by hand in a terminal: the work's own output goes to a log."""

import shutil
import sys
import time
from collections.abc import Callable

from loragrid.errors import UserError
from loragrid.jobs.attempts import read_attempts
from loragrid.status.activity import ActiveJob
from loragrid.status.progress import progress
from loragrid.study.batches import Batch
from loragrid.terminal import printable

EVERY = 1.0
"""Seconds between two looks at the files."""


def line_of(batch: Batch) -> Callable[[], None]:
    """A function that keeps the line up to date if it is called often; without a terminal it does nothing.

    Args:
        batch: what is worked on.
    """
    if not sys.stderr.isatty():
        return lambda: None
    due = 0.0

    def show() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + EVERY
        if text := _text(batch):
            width = shutil.get_terminal_size().columns - 1
            # The cursor goes back to the beginning, so that whatever is printed next takes the line's place.
            print(f"\x1b[K{printable(text)[:width]}", end="\r", file=sys.stderr, flush=True)

    return show


def _text(batch: Batch) -> str:
    for member in batch.members:
        place = member.work
        try:
            attempts = read_attempts(place)
        except (UserError, KeyError, TypeError):
            continue  # damaged, which the worker says
        if not attempts or "ended" in attempts[-1]:
            continue
        return f"{place.parent.name}: {progress(place, attempts[-1], ActiveJob())}"
    return ""
