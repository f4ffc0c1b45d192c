"""Adapters of one base in one batch: each row goes through its own adapter, or through none.

The rows share the base's pass, which is nearly all of the work, and with a single new token a row nearly all of the
reading. What an adapter adds, s·B(Ax) (Hu et al. 2021, section 4.1), is two batched products over the matrices of all
adapters, stacked and filled up with zeros to the largest rank. S-LoRA (Sheng et al. 2023) and Punica (Chen et al. 2023)
serve adapters in mixed batches, too. The base itself stays as it is.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.modeling.load import check_names
from loragrid.modeling.stack import PREFIX, Update
from loragrid.modeling.targets import shape_of
from loragrid.study.together import asks_for

Updates = Mapping[str, Update]
"""What an adapter adds, by the full name of the layer in its base."""

Choose = Callable[[Sequence[int]], None]
"""Says of each row of the batches to come which of the adapters is its own, by its number."""

_MINDED = frozenset({
    "alpha_pattern", "exclude_modules", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha",
    "peft_type", "r", "rank_pattern", "target_modules", "use_rslora",
})  # fmt: skip
"""Fields of an adapter's configuration that are followed here."""

_WITHOUT_EFFECT = frozenset({
    "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "fan_in_fan_out", "inference_mode",
    "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "revision", "task_type",
})  # fmt: skip
"""Fields that change nothing of what a trained adapter computes, or nothing without another field."""

_BEGINS_BESIDE_BASE = (True, False, "gaussian")
"""Values of `init_lora_weights` for which PEFT leaves the base as it is."""


def why_alone(base: PreTrainedModel, folder: Path) -> str | None:
    """Why an adapter cannot share a batch with others: it is to be put on the base by `attach_adapter` instead.

    Args:
        base: the base model.
        folder: the adapter's.

    Returns:
        The reason, for people; None if it can.

    Raises:
        UserError: its configuration cannot be read.
    """
    if why := why_more_than_matrices(base, folder):
        return why
    if apart := _without_rows(base, _targets(base, _configuration(folder))):
        return f"{apart[0]} of {base.config.model_type} is given tokens without the rows that they belong to"
    return None


def why_more_than_matrices(base: PreTrainedModel, folder: Path) -> str | None:
    """Why an adapter is more than products of matrices beside linear layers of a base.

    Args:
        base: the base model, perhaps without weights.
        folder: the adapter's.

    Returns:
        The reason, for people; None if it is no more than that.

    Raises:
        UserError: its configuration cannot be read.
    """
    fields = read_json(folder / "adapter_config.json")
    if fields.get("peft_type") != "LORA":
        return f"it is no LoRA adapter, but {fields.get('peft_type')}"
    for name, value in fields.items():
        if name not in _MINDED | _WITHOUT_EFFECT and asks_for(value):
            return f"its `{name}` is more than products of matrices beside linear layers"
    if fields.get("init_lora_weights", True) not in _BEGINS_BESIDE_BASE:
        return f"its base is changed, as `init_lora_weights: {fields['init_lora_weights']}` says"
    if fields.get("target_modules") in (None, "all-linear"):
        return "its `target_modules` do not name layers"
    modules = _targets(base, _configuration(folder))
    for name, module in modules.items():
        if not isinstance(module, torch.nn.Linear | Conv1D):
            return f"it adapts {name}, which is no linear layer"
    return None


def read_updates(base: PreTrainedModel, folder: Path) -> Updates:
    """Read an adapter that can share a batch with others.

    Args:
        base: the base model.
        folder: the adapter's, of which `why_alone` knows nothing.

    Raises:
        UserError: it is another base's, or not whole.
    """
    config = _configuration(folder)
    modules = _targets(base, config)
    file = folder / "adapter_model.safetensors"
    names = {name: (f"{PREFIX}{name}.lora_A.weight", f"{PREFIX}{name}.lora_B.weight") for name in modules}
    with safe_open(file, framework="pt") as saved:
        check_names(folder, set(saved.keys()), {name for both in names.values() for name in both})
    weights = load_file(file)
    updates = {}
    for name, (of_a, of_b) in names.items():
        a, b = weights[of_a].float(), weights[of_b].float()
        rank, scale = _rank_and_scale(config, name)
        inputs, outputs = shape_of(modules[name])
        for weight, shape, which in ((a, (rank, inputs), of_a), (b, (outputs, rank), of_b)):
            if tuple(weight.shape) != shape:
                raise UserError(
                    f"{folder}: does not fit {base.config.model_type}: {which} is {_times(tuple(weight.shape))}, and "
                    f"{_times(shape)} is needed. Delete the run's folder to train it again"
                )
        updates[name] = Update(a, b * scale)
    return updates


@contextlib.contextmanager
def mixed(base: PreTrainedModel, adapters: Sequence[Updates | None]) -> Iterator[Choose]:
    """Let rows of a base go through adapters, for the length of a block; after it the base is as before.

    Args:
        base: the base model.
        adapters: as of `read_updates`; None for the base alone.

    Yields:
        A function to be called before each batch: it says of each row which of the adapters is its own.
    """
    chosen = _Chosen(len(adapters))
    handles = []
    try:
        for name in sorted({name for updates in adapters if updates for name in updates}):
            module: Any = base.get_submodule(name)
            stacked = _stacked([updates.get(name) if updates else None for updates in adapters], module.weight.device)
            handles.append(module.register_forward_hook(_adds(name, stacked, chosen)))
        yield chosen.choose
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class _Places:
    """Where the rows of a batch go, and come back from: as many places for each adapter as the one with most rows has.

    Args:
        own: adapter of each row.
        adapters: those that some row goes to; None for all.
        rows: of each place, adapter by adapter; any row where the place is empty.
        places: of each row.
    """

    own: torch.Tensor
    adapters: torch.Tensor | None
    rows: torch.Tensor
    places: torch.Tensor

    def to(self, device: torch.device) -> "_Places":
        adapters = None if self.adapters is None else self.adapters.to(device)
        return _Places(self.own.to(device), adapters, self.rows.to(device), self.places.to(device))


class _Chosen:
    """The places of the rows of a batch, on each device that asks for them."""

    def __init__(self, adapters: int):
        self._adapters = adapters
        self._places: dict[torch.device, _Places] = {}

    def choose(self, rows: Sequence[int]) -> None:
        """Take each row's adapter, by number."""
        used = sorted(set(rows))
        of_each = [[row for row, adapter in enumerate(rows) if adapter == each] for each in used]
        most = max(map(len, of_each))
        places = {row: most * first + n for first, some in enumerate(of_each) for n, row in enumerate(some)}
        filled = [row for some in of_each for row in some + some[:1] * (most - len(some))]
        self._places = {
            torch.device("cpu"): _Places(
                torch.tensor(rows),
                None if len(used) == self._adapters else torch.tensor(used),
                torch.tensor(filled),
                torch.tensor([places[row] for row in range(len(rows))]),
            )
        }

    def on(self, device: torch.device) -> _Places:
        """The places, for tensors of a device."""
        if device not in self._places:
            self._places[device] = self._places[torch.device("cpu")].to(device)
        return self._places[device]


def _stacked(updates: Sequence[Update | None], device: torch.device) -> Update:
    """One layer's updates, with zeros up to the largest rank: adapters × rank × inputs, adapters × outputs × rank."""
    known = [update for update in updates if update]
    rank = max(update.a.shape[0] for update in known)
    a = torch.zeros(len(updates), rank, known[0].a.shape[1])
    b = torch.zeros(len(updates), known[0].b.shape[0], rank)
    for number, update in enumerate(updates):
        if update:
            a[number, : update.a.shape[0]] = update.a
            b[number, :, : update.b.shape[1]] = update.b
    return Update(a.to(device), b.to(device))


def _adds(
    name: str, stacked: Update, chosen: _Chosen
) -> Callable[[Any, tuple[torch.Tensor, ...], torch.Tensor], torch.Tensor]:
    def hook(_: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        x, a, b = inputs[0], stacked.a, stacked.b
        where = chosen.on(a.device)
        if x.dim() != 3 or x.shape[0] != len(where.places):
            raise RuntimeError(f"{name}: an input of {_times(tuple(x.shape))} is not one of {len(where.places)} rows")
        # In float32 over a base of 16 bits, too, as PEFT computes it.
        x = x.to(a.device, torch.float32)
        if x.shape[1] >= a.shape[1]:
            added = torch.bmm(torch.bmm(x, a[where.own].mT), b[where.own].mT)
        else:  # a few tokens of each row are less to copy than its adapter
            if where.adapters is not None:
                a, b = a[where.adapters], b[where.adapters]
            brought = x[where.rows].view(len(a), -1, x.shape[-1])
            added = torch.bmm(torch.bmm(brought, a.mT), b.mT).view(len(where.rows), *output.shape[1:])[where.places]
        return (output + added.to(output.device)).to(output.dtype)

    return hook


def _configuration(folder: Path) -> LoraConfig:
    config = PeftConfig.from_pretrained(str(folder))
    if not isinstance(config, LoraConfig):
        raise UserError(f"{folder}/adapter_config.json: is not that of a LoRA adapter")
    return config


def _targets(base: PreTrainedModel, config: LoraConfig) -> dict[str, Any]:
    """The modules of a base that an adapter is for."""
    return {name: module for name, module in base.named_modules() if check_target_module_exists(config, name)}


def _rank_and_scale(config: LoraConfig, name: str) -> tuple[int, float]:
    """Rank and s of one layer, as PEFT finds them (0.21, tuners/lora/model.py, `_create_and_replace`)."""
    ranks, alphas = config.rank_pattern or {}, config.alpha_pattern or {}
    rank = ranks.get(get_pattern_key(list(ranks), name), config.r)
    alpha = alphas.get(get_pattern_key(list(alphas), name), config.lora_alpha)
    return rank, alpha / (math.sqrt(rank) if config.use_rslora else rank)


def _without_rows(base: PreTrainedModel, modules: Mapping[str, Any]) -> list[str]:
    """Modules whose input is not rows × tokens × features: some have tokens of all rows in one list, or a part of them.

    Found out by a pass over two rows of three tokens.
    """
    apart = []

    def look(name: str) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs[0].shape[:-1] != (2, 3):
                apart.append(name)

        return hook

    handles = [module.register_forward_pre_hook(look(name)) for name, module in modules.items()]
    try:
        with torch.inference_mode():
            base(input_ids=torch.zeros(2, 3, dtype=torch.long, device=base.device))
    finally:
        for handle in handles:
            handle.remove()
    return apart


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
