"""A new adapter over a frozen one: trained as if the frozen one belonged to the base, saved as one that holds both.

The update of the two is the sum of theirs, s₁B₁A₁ + s₂B₂A₂ = [s₁B₁ s₂B₂][A₁; A₂]: that of one adapter whose rank is the
sum of both (B, A and the scale s as in Hu et al. 2021, section 4.1).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from transformers import PreTrainedModel

from loragrid.errors import UserError
from loragrid.files import read_json, write_json
from loragrid.modeling.load import attach_adapter

PREFIX = "base_model.model."
"""Of the names of a base's layers, once it has an adapter."""


@dataclass(frozen=True)
class Update:
    """What an adapter adds to what a linear layer computes: x → B(Ax).

    Args:
        a: rank × inputs, float32.
        b: outputs × rank, float32, times the adapter's scale.
    """

    a: torch.Tensor
    b: torch.Tensor


def freeze_onto(base: PreTrainedModel, folder: Path) -> dict[str, Update]:
    """Let a base compute as with an adapter, which is never trained any more.

    Args:
        base: the base model.
        folder: the adapter's.

    Returns:
        The adapter by layer, for `save_stacked`.

    Raises:
        UserError: the adapter does not fit the base, or is more than an update of linear layers.
    """
    adapted = attach_adapter(base, folder)
    updates = _updates_of(adapted, f"{folder}: cannot be stacked over")
    modules: dict[str, Any] = {name: adapted.get_submodule(name) for name in updates}
    layers = {name: module.get_base_layer() for name, module in modules.items()}
    adapted.unload()
    for name, layer in layers.items():
        # On the layer itself, so that the new adapter is put around both.
        layer.register_forward_hook(_adds(updates[name]))
    return updates


def save_stacked(model: PeftModel, frozen: Mapping[str, Update], folder: Path) -> None:
    """Put the adapter that holds both in the place of the new one.

    Every layer has the sum of both ranks, filled up with zeros where one of the adapters leaves it out, and a scale of
    1: programs that do not know ranks by layer read it, too.

    Args:
        model: base model with the new adapter.
        frozen: the other one.
        folder: where the new one was saved.
    """
    new = _updates_of(model, "cannot be stacked")
    ranks = [max(update.a.shape[0] for update in updates.values()) for updates in (frozen, new)]
    tensors = {}
    for layer in sorted(frozen.keys() | new.keys()):
        known = frozen.get(layer) or new[layer]
        inputs, outputs = known.a.shape[1], known.b.shape[0]
        both = [
            _filled(updates.get(layer), inputs, outputs, rank)
            for updates, rank in zip((frozen, new), ranks, strict=True)
        ]
        tensors[f"{layer}.lora_A.weight"] = torch.cat([update.a for update in both])
        tensors[f"{layer}.lora_B.weight"] = torch.cat([update.b for update in both], dim=1)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = read_json(folder / "adapter_config.json")
    whole = {"r": sum(ranks), "lora_alpha": sum(ranks), "use_rslora": False, "rank_pattern": {}, "alpha_pattern": {}}
    whole["target_modules"] = _targets(model, frozen.keys() | new.keys())
    # What the new one left out, the other one may have.
    whole |= dict.fromkeys(("layers_to_transform", "layers_pattern", "exclude_modules"))
    write_json(folder / "adapter_config.json", config | whole)


def _updates_of(model: PeftModel, what: str) -> dict[str, Update]:
    updates = {}
    layers: dict[str, Any] = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, layer in layers.items():
        (adapter,) = layer.active_adapters
        if layer.use_dora.get(adapter):
            raise UserError(f"{what}: DoRA changes the length of the base's weights, too; use `adapter: continue`")
        if adapter not in layer.lora_A:
            raise UserError(f"{what}: it adapts {name}, which is no linear layer")
        a, b = (part[adapter].weight.detach().float().cpu() for part in (layer.lora_A, layer.lora_B))
        updates[name] = Update(a.clone(), b * layer.scaling[adapter])
    return updates


def _adds(update: Update) -> Callable[[Any, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
    on_device: dict[torch.device, Update] = {}

    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        x = inputs[0]
        known = on_device.setdefault(x.device, Update(update.a.to(x.device), update.b.to(x.device)))
        return output + ((x.float() @ known.a.T) @ known.b.T).to(output.dtype)

    return hook


def _filled(update: Update | None, inputs: int, outputs: int, rank: int) -> Update:
    """An update with zeros up to a rank."""
    a, b = torch.zeros(rank, inputs), torch.zeros(outputs, rank)
    if update is not None:
        a[: update.a.shape[0]] = update.a
        b[:, : update.b.shape[1]] = update.b
    return Update(a, b)


def _targets(model: PeftModel, layers: set[str]) -> list[str]:
    """Names by which PEFT finds these layers and no others: the last part, where all that have it are adapted."""
    last = {layer.rpartition(".")[2] for layer in layers}
    others = {
        name
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in last and isinstance(module, LoraLayer | torch.nn.Linear) and name not in layers
    }
    return sorted({layer.removeprefix(PREFIX) for layer in layers} if others else last)
