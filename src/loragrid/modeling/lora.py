"""What a recipe says of LoRA, as PEFT has it: its configuration, how adapters begin, and how they are saved.

PiSSA and OLoRA begin with a part of the base: the trained matrices start as A₀ and B₀ of each weight, and the base is
to be W − s·B₀A₀. PEFT changes the base for that, which must then be changed again wherever the adapter is used, or the
adapter be converted (`path_initial_model_for_weight_conversion`). Here the base stays as it is: a second, frozen
adapter takes s·B₀A₀ away while the first one is trained, and both are saved as one of twice the rank, [A; A₀] and
[B, −B₀]. So the model that is validated is the one that is published, whatever the precision of the base, and the next
one that is trained over the same base finds it untouched.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from safetensors.torch import load_file, save_file

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.jobs.environment import is_main_process
from loragrid.study.recipe import Recipe
from loragrid.study.together import SUBTRACTED

TAKEN = "taken"
"""Name of the frozen adapter that takes away what the trained one begins with."""


def configuration(recipe: Recipe, rows: dict[str, list[int]] | None = None) -> LoraConfig:
    """PEFT's configuration of a recipe.

    Args:
        recipe: the run's.
        rows: of the embedding and the head that are trained, too, by module.

    Raises:
        UserError: PEFT does not take it.
    """
    begins = recipe.initialisation
    try:
        return LoraConfig(
            task_type="CAUSAL_LM",
            r=recipe.rank,
            lora_alpha=recipe.alpha,  # type: ignore[arg-type]  # PEFT says int, and takes any number
            lora_dropout=recipe.dropout,
            target_modules=recipe.target_modules,
            use_rslora=recipe.rslora,
            use_dora=recipe.dora,
            init_lora_weights="gaussian" if begins == "gaussian" else True,
            trainable_token_indices=rows,
            **recipe.lora_config,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"lora_config: {error}") from error


def begin(model: PeftModel, recipe: Recipe, file: Path | None = None) -> None:
    """Let an adapter begin as the recipe says, the base staying as it is.

    Args:
        model: base with a new adapter.
        recipe: the run's.
        file: what it begins with, once it was found out: other machines find it out with other rounding. Written by the
            first attempt, if given.
    """
    if recipe.initialisation not in SUBTRACTED:
        return
    if file is not None and file.exists():
        first = load_file(file)
    else:
        first = dict(_first(model, recipe.initialisation))
        if file is not None and is_main_process():
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{file.name}")
            save_file(first, temporary)
            temporary.replace(file)
    # Without dropout, as the base is, and never trained.
    frozen = configuration(replace(recipe, dropout=0.0))
    model.add_adapter(TAKEN, frozen)
    tuner: Any = model.base_model
    tuner.set_adapter([model.active_adapter, TAKEN])
    for name, layer in _layers(model):
        for matrices, which, sign in ((layer.lora_A, "A", 1), (layer.lora_B, "B", -1)):
            matrix = first[f"{name}.{which}"]
            for adapter, factor in ((model.active_adapter, 1), (TAKEN, sign)):
                weight = matrices[adapter].weight
                weight.data = factor * matrix.to(weight.device, torch.float32, copy=True)
                weight.requires_grad_(adapter != TAKEN)


def _layers(model: PeftModel) -> Iterator[tuple[str, Any]]:
    base: Any = model.get_base_model()
    for name, module in base.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def _first(model: PeftModel, kind: str) -> Iterator[tuple[str, torch.Tensor]]:
    """A₀ and B₀ of each layer, `<layer>.A` and `<layer>.B`."""
    adapter = model.active_adapter
    for name, layer in _layers(model):
        base = layer.get_base_layer()
        weight = dequantize_module_weight(base) if hasattr(base.weight, "quant_state") else base.weight
        weight = weight.detach().float()
        if layer.fan_in_fan_out:  # GPT-2 has its weights the other way round
            weight = weight.T
        rank, scale = layer.r[adapter], layer.scaling[adapter]
        a, b = _principal(weight, rank, scale) if kind == "pissa" else _orthonormal(weight, rank)
        yield f"{name}.A", a.contiguous().cpu()
        yield f"{name}.B", b.contiguous().cpu()


def _principal(weight: torch.Tensor, rank: int, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest singular values and their vectors, so that s·BA is the best approximation of the rank.

    Meng et al. 2024, section 3, as in PEFT (`pissa_init`).
    """
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    root = (values[:rank] / scale).sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _orthonormal(weight: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first columns of Q and rows of R of W = QR (Büyükakyüz 2024, section 3, as in PEFT's `olora_init`)."""
    q, r = torch.linalg.qr(weight)
    return r[:rank], q[:, :rank]


def parameters(model: PeftModel) -> dict[str, int]:
    """How many parameters are trained, and how many the base has."""
    trainable, everything = model.get_nb_trainable_parameters()
    frozen = sum(weight.numel() for name, weight in model.named_parameters() if f".{TAKEN}." in name)
    return {"trainable": trainable, "base": everything - trainable - frozen}


def save(model: PeftModel, recipe: Recipe, folder: Path, base_name: str, begun: Path | None = None) -> None:
    """Save an adapter so that equal weights are equal bytes, and without naming a folder of this machine.

    Args:
        model: base with the trained adapter.
        recipe: the run's.
        folder: to save it in; new.
        base_name: what its configuration calls the base.
        begun: the file of `begin`.
    """
    # No embedding is ever trained as a whole; looking whether one was could ask the hub.
    model.save_pretrained(str(folder), selected_adapters=["default"], save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a model card without content
    file = folder / "adapter_config.json"
    config = read_json(file)
    config["base_model_name_or_path"] = base_name
    if recipe.initialisation in SUBTRACTED and begun is not None:
        _join(folder / "adapter_model.safetensors", begun)
        config["r"] *= 2
        config["lora_alpha"] *= 2**0.5 if recipe.rslora else 2  # the same scale at twice the rank
    for name in ("target_modules", "exclude_modules"):
        if isinstance(config[name], list):
            config[name].sort()  # PEFT writes a set, in another order in each process
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _join(file: Path, begun: Path) -> None:
    """Make one adapter of the trained one and of what it began with: BA − B₀A₀ = [B, −B₀][A; A₀]."""
    weights, first = load_file(file), load_file(begun)
    for name in weights:
        layer = name.removeprefix("base_model.model.")
        if layer.endswith(".lora_A.weight"):
            weights[name] = torch.cat([weights[name], first[layer.replace(".lora_A.weight", ".A")]])
        elif layer.endswith(".lora_B.weight"):
            weights[name] = torch.cat([weights[name], -first[layer.replace(".lora_B.weight", ".B")]], dim=1)
    save_file(weights, file, metadata={"format": "pt"})
