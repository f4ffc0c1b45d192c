"""How the next token of a row is chosen, as a function of that row alone: not of the rows beside it in its batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from loragrid.jobs.environment import stream


def row_seed(seed: int, prompt: str) -> int:
    """The seed of one answer's random numbers.

    Args:
        seed: of all answers of a subject.
        prompt: the prompt's id.
    """
    return stream(seed, f"sampling:{prompt}")


def processors(decoding: Mapping[str, Any], padding: Sequence[int], width: int, seeds: Sequence[int]) -> Any:
    """What makes scores of tokens the study's decoding, for transformers' greedy `generate`.

    Args:
        decoding: max_new_tokens, temperature (0: the likeliest token), top_p, top_k (0: all), repetition_penalty.
        padding: tokens of padding to the left of each row's prompt.
        width: tokens of a prompt with its padding.
        seeds: of each row's random numbers.

    Returns:
        A LogitsProcessorList.
    """
    found = LogitsProcessorList()
    if decoding["repetition_penalty"] != 1:
        found.append(PenaltyWithoutPadding(decoding["repetition_penalty"], padding))
    if decoding["temperature"]:
        # In transformers' own order.
        found.append(TemperatureLogitsWarper(float(decoding["temperature"])))
        if decoding["top_k"]:
            found.append(TopKLogitsWarper(decoding["top_k"]))
        if decoding["top_p"] < 1:
            found.append(TopPLogitsWarper(decoding["top_p"]))
        found.append(DrawByRow(seeds, decoding["max_new_tokens"], width))
    return found


class PenaltyWithoutPadding(RepetitionPenaltyLogitsProcessor):
    """Repetition penalty (Keskar et al. 2019, section 4.1) of the tokens of a row.

    That of transformers takes padding for a part of the prompt: where the padding is the token that ends a text, rows
    that are shorter than another one in their batch would be kept from ending.

    Args:
        penalty: above 1 against repetition.
        padding: tokens of padding to the left of each row's prompt.
    """

    def __init__(self, penalty: float, padding: Sequence[int]):
        super().__init__(float(penalty))
        self._padding = torch.tensor(padding)[:, None]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores with the penalty, from ids (rows × tokens) and scores (rows × vocabulary)."""
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        self._padding = self._padding.to(input_ids.device)
        # A token counts once, however often it is there: the row's first one may stand for the padding.
        first = input_ids.gather(1, self._padding)
        return super().__call__(torch.where(columns < self._padding, first, input_ids), scores)


class DrawByRow(LogitsProcessor):
    """Draws a token for each row, and leaves no other one: the likeliest of what is left is the drawn one.

    A row has random numbers of its own, one a token: neither the rows beside it, nor whether they have ended, move
    them. They come from the CPU's generator on every device.

    Args:
        seeds: of each row.
        steps: tokens of an answer, at most.
        width: tokens of a prompt with its padding.
    """

    def __init__(self, seeds: Sequence[int], steps: int, width: int):
        drawn = [
            torch.rand(steps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds
        ]
        self._numbers = torch.stack(drawn)
        self._width = width

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """0 for the drawn token and −∞ for the others, from ids (rows × tokens) and scores (rows × vocabulary)."""
        self._numbers = self._numbers.to(scores.device)
        number = self._numbers[:, input_ids.shape[1] - self._width, None]
        # Inverse transform sampling. In float64, so that the other rounding of another batch hardly ever matters.
        cumulative = scores.double().softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.searchsorted(cumulative, number * cumulative[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn.clamp(max=scores.shape[-1] - 1), 0.0)
