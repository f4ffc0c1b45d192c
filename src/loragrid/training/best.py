"""The adapter of the lowest validation loss."""

import math
from collections.abc import Mapping

import torch


class Best:
    """The lowest validation loss so far, and the weights that had it where these are asked for.

    Args:
        keeps_weights: whether they are.
    """

    def __init__(self, *, keeps_weights: bool):
        self.found: dict[str, float] = {}  # `loss` and `step`; empty before the first validation
        self.weights: dict[str, torch.Tensor] = {}
        self._keeps_weights = keeps_weights

    def offer(self, loss: float, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Take note of a validation; of equal losses the earlier one is the best.

        Args:
            loss: the validation loss.
            step: optimiser steps done.
            weights: those of the adapter now, by name.
        """
        if loss < self.found.get("loss", math.inf):
            self.found = {"loss": loss, "step": step}
            if self._keeps_weights:
                self.weights = {name: weight.detach().cpu().clone() for name, weight in weights.items()}
