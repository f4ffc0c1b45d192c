"""Answers by transformers' `generate`, in this process, in batches that rows of several subjects share."""

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch

from loragrid.generation.backends import Adapter, Row
from loragrid.generation.decoding import generate, only_as_asked
from loragrid.jobs.environment import describe, peak_memory
from loragrid.modeling.architecture import Architecture
from loragrid.modeling.at_a_time import RowsAtATime, room_for_rows
from loragrid.modeling.chat import Chat
from loragrid.modeling.dimensions import dimensions_of
from loragrid.modeling.mixed import mixed


class Transformers:
    """Answers by a model in this process.

    Args:
        base: base model; with a single subject perhaps with an adapter of PEFT's.
        batch_size: rows at a time, whatever the memory.
        most: rows at a time where it has room. Default: no more.
    """

    def __init__(self, base: Any, batch_size: int, most: int | None = None):
        self._base = base
        self._batch_size = batch_size
        self._most = most or batch_size

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
            at_a_time, start = self._at_a_time(), 0
            while start < len(rows):
                lengths = [len(row.prompt) + decoding["max_new_tokens"] for row in rows[start : start + self._most]]
                batch = rows[start : start + at_a_time.first(lengths)]
                choose([row.subject for row in batch])
                prompts, seeds = [row.prompt for row in batch], [row.seed for row in batch]
                made = generate(self._base, chat, prompts, decoding, ends, seeds)
                yield {row: {**answer, "rows": len(batch)} for row, answer in enumerate(made, start)}
                start += len(batch)

    def _at_a_time(self) -> RowsAtATime:
        """By the memory that is left beside the base and the adapters."""
        weights = {weight.device for weight in self._base.parameters()}
        left = [_left(device) for device in weights if device.type == "cuda"]
        return RowsAtATime(
            dimensions_of(self._base.config.to_dict()),
            self._base.get_input_embeddings().weight.element_size(),
            room_for_rows(min(left, default=None)),
            self._batch_size,
            self._most,
        )


def _left(device: torch.device) -> int:
    """Bytes of a GPU's memory beside what this process keeps there; of whoever else uses it, batches know nothing."""
    return torch.cuda.get_device_properties(device).total_memory - torch.cuda.memory_allocated(device)
