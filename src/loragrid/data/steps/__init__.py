"""Cleaning steps, one module each; a new file here is a new step that any dataset may use."""

import importlib
import pkgutil
from typing import cast

from loragrid.data.steps.base import Step

STEPS: dict[str, Step] = {
    name: cast(Step, importlib.import_module(f"{__name__}.{name}"))
    for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    if name != "base"
}
"""Every step by its name."""
