"""One base model for all members of a job that use it alike: lent, and taken back as it was, or loaded anew.

Adapters, a trainer and accelerate change a model in place: its layers, `forward`, hooks, flags, its configuration. All
of these are attributes of its modules, and are put back. Weights are compared, since a few recipes change them, too.
"""

import copy
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from loragrid.jobs.environment import release_memory
from loragrid.modeling.load import Place, load_base


class Lender:
    """Lends base models, one at a time: whoever takes the next has given back the last."""

    def __init__(self) -> None:
        self._lent: _Lent | None = None

    def release(self) -> None:
        """Give up the base that was lent, so that another process has its memory."""
        self._lent = None
        release_memory()

    def base(self, folder: str, precision: str, place: Place = "here", attention: str | None = None) -> PreTrainedModel:
        """A base model as it is when it is loaded.

        Args:
            folder: as `load_base` takes it, as all others.
            precision: likewise.
            place: likewise. What does not lie on one device is loaded anew.
            attention: likewise.

        Raises:
            UserError: it cannot be loaded.
        """
        which = (folder, precision, place, attention)
        lent, self._lent = self._lent, None
        if lent is None or lent.which != which or not lent.put_back():
            lent = None
            release_memory()  # two may not fit
            model = load_base(*which)
            if place != "here":
                return model
            lent = _Lent(which, model)
        self._lent = lent
        return lent.model


class _Lent:
    """A base model, and what it was like when it was loaded."""

    def __init__(self, which: tuple[Any, ...], model: PreTrainedModel):
        self.which = which
        self.model = model
        self._config, self._generation = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
        self._modules = {module: _attributes(module) for module in model.modules()}
        tensors = [*model.parameters(), *model.buffers()]
        self._tensors = [(tensor, tensor.data_ptr(), tensor.requires_grad, _sum(tensor)) for tensor in tensors]

    def put_back(self) -> bool:
        """Take away all that was put on the model; whether it is as it was."""
        for module, attributes in self._modules.items():
            object.__setattr__(module, "__dict__", {name: _copied(value) for name, value in attributes.items()})
        _restore(self.model.config, self._config)
        self.model.generation_config = copy.deepcopy(self._generation)
        for tensor, address, trained, total in self._tensors:
            if tensor.data_ptr() != address or _sum(tensor) != total:
                return False
            tensor.requires_grad_(trained)
            tensor.grad = None
        return True


def _attributes(module: torch.nn.Module) -> dict[str, Any]:
    return {name: _copied(value) for name, value in vars(module).items()}


def _copied(value: Any) -> Any:
    """Children, parameters, buffers and hooks are in dicts of a module, which are changed in place."""
    return copy.copy(value) if isinstance(value, dict | set | list) else value


def _restore(config: PreTrainedConfig, before: PreTrainedConfig) -> None:
    """Put back all fields of a configuration, in place: layers refer to it, and to those within it."""
    for name in vars(config).keys() - vars(before).keys():
        delattr(config, name)
    for name, value in vars(before).items():
        now = vars(config).get(name)
        if isinstance(value, PreTrainedConfig) and isinstance(now, PreTrainedConfig):
            _restore(now, value)
        else:
            vars(config)[name] = copy.deepcopy(value)


def _sum(tensor: torch.Tensor) -> int:
    """Of all bytes of a tensor, eight at a time: training one weight changes it."""
    bytes_ = tensor.detach().contiguous().view(-1).view(torch.uint8)
    whole = bytes_[: bytes_.numel() // 8 * 8].view(torch.int64)
    return int(whole.sum()) + int(bytes_[whole.numel() * 8 :].sum(dtype=torch.int64))
