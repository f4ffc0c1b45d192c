"""Rows of a base's embedding and head for a token that it does not know, trained and saved with an adapter.

PEFT trains them (`trainable_token_indices`): its wrappers put the trained rows in the place of the base's whenever the
embedding or the head is used, or its weight is read.
"""

from typing import Any

import torch
from peft import PeftModel
from peft.utils.other import TrainableTokensWrapper
from transformers import PreTrainedModel

from loragrid.errors import UserError


def check_rows(model: PreTrainedModel) -> None:
    """See that rows of a base can be trained; of one on the meta device, too.

    Raises:
        UserError: they cannot.
    """
    head: Any = model.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise UserError(
            f"end_token: train: the head of {model.config.model_type} has a bias, beside which no rows can be trained; "
            "use `end_token: text`"
        )


def rows_for(model: PreTrainedModel, token: int) -> dict[str, list[int]]:
    """Let a base have rows for a token, each the mean of the others: like any word, and the same in each process.

    A base grows only as far as it must. Many have more rows than words already, to fill up blocks of the GPU.

    Args:
        model: the base model.
        token: its id.

    Returns:
        The rows that have to be trained, by the name of the module, as PEFT wants them.

    Raises:
        UserError: the rows of this model cannot be trained.
    """
    check_rows(model)
    weights = _weights(model)
    before = len(weights[0])
    means = [weight.mean(dim=0, dtype=torch.float32) for weight in weights]
    if token >= before:
        model.resize_token_embeddings(token + 1, mean_resizing=False)
    new = sorted({*range(before, token), token})
    with torch.no_grad():
        for weight, mean in zip(_weights(model), means, strict=True):
            weight[new] = mean.to(weight.dtype)
    ours = {id(module) for module in _modules(model)}
    return {name: [token] for name, module in model.named_modules() if id(module) in ours}


def show_head(model: PreTrainedModel) -> None:
    """Let TRL's head see the rows in training.

    It computes logits from the head's weight, which PEFT's wrapper has, and its bias, which that does not tell of.
    """
    head: Any = model.get_output_embeddings()
    head.bias = None


def merge_rows(model: PeftModel) -> None:
    """Put trained rows into the base for good: PEFT would copy both matrices for each token of an answer."""
    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper):
            module.token_adapter.merge()


def _modules(model: PreTrainedModel) -> list[Any]:
    """The embedding, and the head where it has weights of its own."""
    embedding: Any = model.get_input_embeddings()
    head: Any = model.get_output_embeddings()
    return [embedding] if head.weight is embedding.weight else [embedding, head]


def _weights(model: PreTrainedModel) -> list[torch.Tensor]:
    return [module.weight for module in _modules(model)]
