"""Adapters where a model should be. Light to import."""

from pathlib import Path

from loragrid.errors import UserError

CONFIG = "adapter_config.json"
"""The file by which PEFT and transformers know an adapter."""

IS_ADAPTER = (
    "this is an adapter and no model: name the model that it was trained over, and train on with an adapter of this "
    "study by `parent`, the name of the point that trained it"
)


def refuse_adapter(folder: Path) -> None:
    """Refuse to load a model from a folder with an adapter: transformers would load that, too, unasked.

    Args:
        folder: the model's.

    Raises:
        UserError: there is one.
    """
    if (folder / CONFIG).exists():
        raise UserError(f"{folder / CONFIG}: {IS_ADAPTER}")
