"""Answers by transformers' `generate`, in this process, in batches that rows of several subjects share."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from loragrid.generation.backends import Adapter, Row
from loragrid.generation.decoding import generate, only_as_asked
from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat
from loragrid.modeling.environment import describe, peak_memory
from loragrid.modeling.mixed import mixed


class Transformers:
    """Answers by a model in this process.

    Args:
        base: base model; with a single subject perhaps with an adapter of PEFT's.
        batch_size: rows at a time.
    """

    def __init__(self, base: Any, batch_size: int):
        self._base = base
        self._batch_size = batch_size

    @property
    def architecture(self) -> Architecture:
        """As of `Backend`."""
        return Architecture.of(self._base.config)

    def describe(self) -> dict[str, Any]:
        """As of `Backend`."""
        return {"peak_memory_bytes": peak_memory(), **describe()}

    def answers(
        self, rows: Sequence[Row], adapters: Sequence[Adapter], chat: Chat, decoding: Mapping[str, Any]
    ) -> Generator[dict[int, dict[str, Any]]]:
        """As of `Backend`: a batch at a time of rows that follow each other, adapters as `read_updates` reads them."""
        with only_as_asked(self._base, chat) as ends, mixed(self._base, adapters) as choose:  # type: ignore[arg-type]
            for start in range(0, len(rows), self._batch_size):
                batch = rows[start : start + self._batch_size]
                choose([row.subject for row in batch])
                prompts, seeds = [row.prompt for row in batch], [row.seed for row in batch]
                made = generate(self._base, chat, prompts, decoding, ends, seeds)
                yield dict(enumerate(made, start))
