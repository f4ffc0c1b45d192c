"""Checkpoints of a run: everything that training needs to go on as if it had never stopped.

Each is a folder of safetensors and JSON, no pickle, with a digest over its files, so that a half-written or damaged one
is recognised and the one before is used.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers.trainer import TRAINER_STATE_NAME

from loragrid.errors import UserError
from loragrid.files import read_json, remove, sha256_of, write_json

KEPT = 2
"""Newest checkpoints that are kept: one may be damaged by the very failure it is needed for."""

DIGEST = "digest.json"

WRAPPED = "__bnb_optimizer_quant_state__"
"""Under this bitsandbytes hides its moments from FSDP in a `state_dict()`; it loads them without it, too (0.50,
optim/optimizer.py)."""


@dataclass
class Checkpoint:
    """What is saved of a training after a whole optimiser step.

    Args:
        step: optimiser steps done.
        validated_at: step of the last validation; before `step` where that one's was left to the next attempt.
        adapter: trainable weights by parameter name, float32.
        optimizer: the optimiser's `state_dict()`.
        scheduler: the scheduler's `state_dict()`, JSON values.
        scaler: the gradient scaler's `state_dict()`, JSON values; empty without fp16.
        random: states of the generators that dropout draws from, by device.
        best: lowest validation loss so far and its step; empty before the first.
        best_adapter: the weights that had it, by parameter name; empty where they are not asked for.
        trainer: the Trainer's own state, JSON values, in the file where it looks for it.
    """

    step: int
    validated_at: int
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any]
    random: dict[str, torch.Tensor]
    best: dict[str, float]
    best_adapter: dict[str, torch.Tensor]
    trainer: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Save a checkpoint under `folder`, whole or not at all, and drop those beyond the `KEPT` newest.

    Whatever lies in its place is replaced, be it a file or a link.

    Returns:
        The checkpoint's own folder.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    temporary = folder / f".{target.name}"
    if not folder.is_dir():
        remove(folder)
    remove(temporary)
    temporary.mkdir(parents=True)
    try:
        _write(temporary, checkpoint)
    except BaseException:
        remove(temporary)  # on a full disk there is room again to say so
        raise
    remove(target)
    temporary.rename(target)
    folders = _folders(folder)
    at = folders.index(target)
    # Those after it were found damaged when this training resumed, or it would have gone on from there.
    for useless in [*folders[: max(0, at + 1 - KEPT)], *folders[at + 1 :]]:
        # What cannot be removed has lost its digest, and is passed over.
        remove(useless)
    return target


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    tensors, scalars = _split(checkpoint.optimizer["state"])
    _save_tensors(checkpoint.adapter, folder / "adapter.safetensors")
    _save_tensors(checkpoint.best_adapter, folder / "best.safetensors")
    _save_tensors(tensors, folder / "optimizer.safetensors")
    _save_tensors(checkpoint.random, folder / "random.safetensors")
    write_json(
        folder / "state.json",
        {
            "step": checkpoint.step,
            "validated_at": checkpoint.validated_at,
            "optimizer": {"state": scalars, "param_groups": checkpoint.optimizer["param_groups"]},
            "scheduler": checkpoint.scheduler,
            "scaler": checkpoint.scaler,
            "best": checkpoint.best,
        },
    )
    write_json(folder / TRAINER_STATE_NAME, checkpoint.trainer)
    # Last, so that its presence says that the rest was written; its content says that it still is what was written.
    write_json(folder / DIGEST, _digest(folder))


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole.

    Returns:
        Its folder (None if there is none) and a line for each damaged one that was passed over.
    """
    damaged: list[str] = []
    for candidate in reversed(_folders(folder)):
        try:
            if read_json(candidate / DIGEST) == _digest(candidate):
                return candidate, damaged
            damaged.append(f"{candidate}: the files are not those that were saved")
        except (UserError, OSError) as error:
            damaged.append(str(error))
    return None, damaged


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint that `newest` found whole; tensors are on the CPU."""
    content = read_json(folder / "state.json")
    optimizer = content["optimizer"]
    state = {int(index): values for index, values in optimizer["state"].items()}
    for name, tensor in _load_tensors(folder / "optimizer.safetensors").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    return Checkpoint(
        step=content["step"],
        validated_at=content["validated_at"],
        adapter=_load_tensors(folder / "adapter.safetensors"),
        optimizer={"state": state, "param_groups": optimizer["param_groups"]},
        scheduler=content["scheduler"],
        scaler=content["scaler"],
        random=_load_tensors(folder / "random.safetensors"),
        best=content["best"],
        best_adapter=_load_tensors(folder / "best.safetensors"),
        trainer=read_json(folder / TRAINER_STATE_NAME),
    )


def _split(state: dict[int, dict[str, Any]]) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """An optimiser's state as tensors named `<parameter>.<name>`, and the rest as JSON."""
    tensors, scalars = {}, {}
    for index, wrapped in state.items():
        values = {key: value for key, value in wrapped.items() if key != WRAPPED} | wrapped.get(WRAPPED, {})
        tensors.update({f"{index}.{key}": value for key, value in values.items() if isinstance(value, torch.Tensor)})
        scalars[str(index)] = {key: value for key, value in values.items() if not isinstance(value, torch.Tensor)}
    return tensors, scalars


def _save_tensors(tensors: dict[str, torch.Tensor], file: Path) -> None:
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, file)


def _load_tensors(file: Path) -> dict[str, torch.Tensor]:
    # Copies: what is mapped from a file keeps its folder from being removed on network file systems.
    return {name: tensor.clone() for name, tensor in load_file(file).items()}


def _digest(folder: Path) -> dict[str, str]:
    return {file.name: sha256_of(file) for file in sorted(folder.iterdir()) if file.name != DIGEST}


def _folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """The part of a `state_dict()` that JSON can hold (a LambdaLR also carries its functions, which are code)."""
    kept = {}
    for name, value in state.items():
        try:
            json.dumps(value)
        except TypeError:
            continue
        kept[name] = value
    return kept
