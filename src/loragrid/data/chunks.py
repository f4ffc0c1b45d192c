"""A cleaned file in chunks of lines, so that it can be worked on a piece at a time, by several processes."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import unreadable

LINES = 1000
BYTES = 2**20
"""A chunk ends with the line that makes it so many lines or bytes: it is what is in memory at a time."""


@dataclass(frozen=True)
class Chunk:
    """Where lines stand that follow each other. Small, so that it costs nothing to send to another process.

    Args:
        file: of the lines.
        first: number of the first of them, from 1.
        number: of lines.
        offset: of the first of them in the file, in bytes.
        size: of them together, in bytes.
    """

    file: Path
    first: int
    number: int
    offset: int
    size: int

    def lines(self) -> list[bytes]:
        """The lines, as they are in the file."""
        with self.file.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size)).readlines()


def chunks_of(file: Path) -> Iterator[Chunk]:
    """Divide a file into chunks.

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
        first, number, offset, size = 1, 0, 0, 0
        for line in opened:
            number += 1
            size += len(line)
            if number >= LINES or size >= BYTES:
                yield Chunk(file, first, number, offset, size)
                first, number, offset, size = first + number, 0, offset + size, 0
        if number:
            yield Chunk(file, first, number, offset, size)
