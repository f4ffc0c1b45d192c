"""Which layers of a model get an adapter: linear ones of the language model, neither its head nor another tower."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft.utils.other import get_pattern_key
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from loragrid.errors import UserError

READ_PAST = dict.fromkeys(
    ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h"), ("dt_proj", "out_proj", "x_proj")
)
"""Layers whose weight is read past an adapter, by kinds of models with a recurrent state: the adapter would do nothing
(transformers 5.23, modeling_mamba.py; PEFT 0.21 refuses two of them)."""

Shapes = Mapping[str, tuple[int, int]]
"""Inputs and outputs of layers, by the layer's full name."""


def adaptable(model: PreTrainedModel) -> Shapes:
    """The layers that can be adapted; of a model on the meta device, too.

    Args:
        model: a causal language model, perhaps with towers for other than text.
    """
    language, head = model.get_decoder(), model.get_output_embeddings()
    (inside,) = (name for name, module in model.named_modules() if module is language)
    beyond = READ_PAST.get(model.config.model_type, ())
    # TRL computes its logits from the head's own weights, without an adapter.
    return {
        name: shape_of(module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not head
        and (not inside or name.startswith(f"{inside}."))
        and name.rpartition(".")[2] not in beyond
    }


@dataclass(frozen=True)
class Targets:
    """Which layers get an adapter, as PEFT is told.

    Args:
        names: as in a recipe, if they name no other layers; else the full names of those that are meant.
        full: whether they are full names, which PEFT does not look through for `layers_to_transform`.
    """

    names: Literal["all-linear"] | list[str]
    full: bool


def targets(
    model: PreTrainedModel, wanted: Literal["all-linear"] | list[str], rank: int, further: Mapping[str, Any]
) -> Targets:
    """What PEFT is given as `target_modules`.

    PEFT adapts what it finds and is silent about the rest: on Phi-3, whose q, k and v are one qkv_proj, the usual four
    names would adapt o_proj alone, and `all-linear` a vision tower, too, which never sees an image here.

    Args:
        model: as of `adaptable`.
        wanted: a recipe's `target_modules`: `all-linear` or ends of names.
        rank: of the adapter.
        further: the recipe's `lora_config`, of which all that names layers is used.

    Raises:
        UserError: a name is not in every layer of the model; the message lists those that are. Or a rank is larger than
            a layer.
    """
    can = adaptable(model)
    if isinstance(wanted, str):
        chosen = can
    else:
        _check_names(model.config.model_type, can, wanted)
        chosen = {name: shape for name, shape in can.items() if _is_one_of(name, wanted)}
    adapted = _chosen_by(further, chosen)
    _check_parameters(model, further.get("target_parameters") or [])
    if not adapted and not further.get("target_parameters"):
        raise UserError(
            "target_modules: there is no layer to adapt, or `lora_config` leaves none; name others, or exclude fewer"
        )
    for field in ("rank_pattern", "alpha_pattern"):
        for pattern in further.get(field) or {}:
            if not any(get_pattern_key([pattern], name) == pattern for name in adapted):
                ends = ", ".join(sorted({name.rpartition(".")[2] for name in adapted}))
                raise UserError(f"lora_config.{field}: {pattern!r} names no layer that is adapted; there are {ends}")
    _check_rank(adapted, rank, further.get("rank_pattern") or {})
    head = model.get_output_embeddings()
    meant_by_peft = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and (module is not head if isinstance(wanted, str) else _is_one_of(name, wanted))
    }
    return Targets(wanted, full=False) if meant_by_peft == chosen.keys() else Targets(sorted(adapted), full=True)


def refuse_packing(kind: str) -> None:
    """Refuse NF4 for models that read some weights as they are.

    Args:
        kind: the family, as transformers calls it.

    Raises:
        UserError: it is such a one.
    """
    if kind in READ_PAST:
        raise UserError(
            f"precision nf4: {kind} reads the weights of {', '.join(READ_PAST[kind])} as they are, which four bits are "
            "not; use `method: lora` with `precision: 16bit` of the model"
        )


def _chosen_by(further: Mapping[str, Any], chosen: Shapes) -> Shapes:
    """Those of the layers that `layers_to_transform` and `exclude_modules` leave."""
    left = dict(chosen)
    if (numbers := further.get("layers_to_transform")) is not None:
        wanted, there = ({numbers} if isinstance(numbers, int) else set(numbers)), set(map(_layer, chosen))
        if missing := sorted(wanted - there):
            last = max(number for number in there if number is not None)
            raise UserError(
                f"lora_config.layers_to_transform: there is no layer {', '.join(map(str, missing))}; there are 0 to "
                f"{last}"
            )
        left = {name: shape for name, shape in chosen.items() if _layer(name) in wanted}
    if excluded := further.get("exclude_modules"):
        # As PEFT compares (0.21, tuners_utils.py, `check_target_module_exists`).
        each = [excluded] if isinstance(excluded, str) else excluded
        for end in each:
            out = [
                name
                for name in chosen
                if (re.fullmatch(end, name) if each is not excluded else _is_one_of(name, [end]))
            ]
            if not out:
                ends = ", ".join(sorted({name.rpartition(".")[2] for name in chosen}))
                raise UserError(f"lora_config.exclude_modules: {end!r} names no layer; there are {ends}")
            left = {name: shape for name, shape in left.items() if name not in out}
    return left


def _check_parameters(model: PreTrainedModel, wanted: list[str]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for end in wanted:
        if not any(_is_one_of(name, [end]) for name in names):
            raise UserError(f"lora_config.target_parameters: the model has no parameter {end!r}")


def _check_names(kind: str, can: Shapes, wanted: list[str]) -> None:
    every = {number for name in can if (number := _layer(name)) is not None}
    ends = sorted({name.rpartition(".")[2] for name in can})
    whole = [end for end in ends if _layers_with(can, end) == every]
    for name in wanted:
        there = _layers_with(can, name)
        if there and there != every:
            raise UserError(
                f"target_modules: {name} is in {len(there)} of the {len(every)} layers of this {kind} only; in all of "
                f"them are {', '.join(whole)} (or use `all-linear`)"
            )
    if missing := [name for name in wanted if not _layers_with(can, name)]:
        raise UserError(
            f"target_modules: {kind} has no {', '.join(missing)} that can be adapted; there are {', '.join(ends)} (or "
            "use `all-linear`)"
        )


def _check_rank(chosen: Shapes, of_all: int, of_some: Mapping[str, int]) -> None:
    for name, shape in chosen.items():
        rank = of_some.get(get_pattern_key(list(of_some), name), of_all)
        if rank > min(shape):
            raise UserError(
                f"rank {rank} is larger than {name}, which has {shape[0]} inputs and {shape[1]} outputs: an update of "
                f"it has no more than rank {min(shape)}. Lower the rank, or leave {name.rpartition('.')[2]} out of "
                "target_modules"
            )


def _layer(name: str) -> int | None:
    """The number of the layer that a module belongs to."""
    found = re.search(r"\.(\d+)\.", name)
    return int(found[1]) if found else None


def _layers_with(can: Shapes, end: str) -> set[int]:
    return {number for name in can if _is_one_of(name, [end]) and (number := _layer(name)) is not None}


def _is_one_of(name: str, ends: list[str]) -> bool:
    """As PEFT compares (0.21, tuners_utils.py, `check_target_module_exists`)."""
    return any(name == end or name.endswith(f".{end}") for end in ends)


def shape_of(module: torch.nn.Linear | Conv1D) -> tuple[int, int]:
    """Inputs and outputs of a layer."""
    if isinstance(module, torch.nn.Linear):  # whose weight may be packed
        return module.in_features, module.out_features
    inputs, outputs = module.weight.shape
    return inputs, outputs
