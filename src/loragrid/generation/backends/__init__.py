"""Backends: what answers prompts, each in a file of its own behind one small interface."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loragrid.modeling.architecture import Architecture
from loragrid.modeling.chat import Chat
from loragrid.modeling.mixed import Updates

Adapter = Updates | Path | None
"""A subject's adapter, as its backend takes it; None for the model as it is."""


@dataclass(frozen=True)
class Row:
    """A prompt to one subject.

    Args:
        subject: its number among the adapters.
        prompt: token ids, with room for the longest answer beside them.
        seed: of the answer's random numbers.
    """

    subject: int
    prompt: list[int]
    seed: int


class Backend(Protocol):
    """Answers rows of several subjects of one base."""

    @property
    def architecture(self) -> Architecture:
        """What the base's configuration says."""

    def describe(self) -> dict[str, Any]:
        """What answers: `peak_memory_bytes` (None where that says nothing), device, versions; for generation.json."""

    def answers(
        self, rows: Sequence[Row], adapters: Sequence[Adapter], chat: Chat, decoding: Mapping[str, Any]
    ) -> Generator[dict[int, dict[str, Any]]]:
        """Answer rows, some at a time.

        An answer depends on its subject, its prompt and its seed alone, up to rounding.

        Args:
            rows: what is asked.
            adapters: of the subjects.
            chat: tokenizer and template of the base.
            decoding: max_new_tokens, temperature, top_p, top_k, repetition_penalty.

        Yields:
            What was answered since the last time, by the row's number: `answer`, `answer_tokens` (the one that ended
            it included) and `ended` (`stop` or `length`); and, where batches are ours, of how many `rows` it was. It
            may be nothing, where there was much to wait for: whoever asks can end the work between two of them.
        """
