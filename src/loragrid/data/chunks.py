"""A cleaned file in chunks of lines, so that it can be worked on a piece at a time, by several processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import unreadable

LINES = 1000
BYTES = 2**20
"""A chunk ends where it has so many lines or bytes: it is what is in memory at a time."""


@dataclass(frozen=True)
class Chunk:
    """Lines that follow each other.

    Args:
        file: where they come from, for messages.
        first: number of the first of them in the file, from 1.
        lines: as they are in the file.
    """

    file: Path
    first: int
    lines: list[bytes]


def chunks_of(file: Path) -> Iterator[Chunk]:
    """Read a file chunk by chunk.

    Args:
        file: JSON Lines.

    Raises:
        UserError: it cannot be read.
    """
    try:
        opened = file.open("rb")
    except OSError as error:
        raise UserError(unreadable(file, error)) from None
    with opened:
        first = 1
        lines: list[bytes] = []
        size = 0
        for line in opened:
            lines.append(line)
            size += len(line)
            if len(lines) >= LINES or size >= BYTES:
                yield Chunk(file, first, lines)
                first, lines, size = first + len(lines), [], 0
        if lines:
            yield Chunk(file, first, lines)
