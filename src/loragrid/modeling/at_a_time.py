"""How many prompts are answered at a time: it changes memory and speed, and no result beyond rounding.

A step of an answer computes one token of each row, and takes nearly as long for many rows as for few: all weights are
read, and kernels launched, in either case. So there are as many rows as the memory holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from loragrid.modeling.dimensions import Dimensions

SHARE = 0.6
"""Of a GPU's memory that is left beside the weights, the share that rows may take; assumed: the rest is for what
PyTorch holds in pieces, and for models whose attention is not computed in tiles."""

CPU_ROOM = 2**30
"""Bytes that rows may take on a CPU, where jobs ask for what they need."""

SCORES = 36
"""Bytes of a row's score of a token, in 32 bits and as it is drawn from: sorted, in 64 bits, and summed up."""


def room_for_rows(left: float | None) -> float:
    """Bytes that the rows of a batch of answers may take.

    Args:
        left: bytes of the GPU's memory beside weights, adapters and CUDA; None on a CPU.
    """
    return CPU_ROOM if left is None else max(0.0, SHARE * left)


@dataclass(frozen=True)
class RowsAtATime:
    """How many rows of a length are answered at a time.

    Args:
        size: the model; None if it is of no kind whose memory is known.
        number: bytes of a number as it computes.
        room: bytes that the rows may take, as of `room_for_rows`.
        least: rows that are taken in any case.
        most: rows at a time at most, whatever the memory.
    """

    size: Dimensions | None
    number: int
    room: float
    least: int
    most: int

    def of(self, tokens: int) -> int:
        """Rows at a time whose longest has so many tokens with its answer: a multiple of the least."""
        if self.size is None:
            return self.least
        rows = min(self.most, int(self.room // row_bytes(self.size, tokens, self.number)))
        return max(self.least, rows - rows % self.least)

    def bytes_of(self, tokens: int) -> float:
        """Bytes that a batch of them takes at most, if the longest row of all has so many tokens with its answer.

        Shorter ones are more at a time, and fill the room.
        """
        if self.size is None:
            return self.room
        one = row_bytes(self.size, tokens, self.number)
        return min(max(self.room, self.least * one), self.most * one)

    def first(self, tokens: Sequence[int]) -> int:
        """How many of the first of some rows, given the tokens of each with its answer, go together."""
        rows = self.most
        while rows > self.least and self.of(max(tokens[:rows])) < rows:
            rows -= 1
        return rows


def row_bytes(size: Dimensions, tokens: int, number: int) -> int:
    """Bytes that a row takes while it is answered.

    Args:
        size: the model.
        tokens: of prompt and answer.
        number: bytes of a number as it computes.
    """
    return tokens * (cache_bytes(size, number) + layer_bytes(size, tokens, number)) + size.vocabulary * SCORES


def cache_bytes(size: Dimensions, number: int) -> int:
    """Bytes of the key and the value of a token, in all layers."""
    return 2 * size.layers * size.kv_heads * size.head_width * number


def layer_bytes(size: Dimensions, tokens: int, number: int) -> int:
    """Bytes of a token that one layer holds at a time, where nothing is kept for a backward pass; and of the mask."""
    return number * (4 * size.hidden + 3 * size.intermediate + tokens)
