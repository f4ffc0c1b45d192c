"""Readers of the datasets' original formats, one module each; a new file here is a new dataset."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any, cast

from loragrid.data.sources.base import Source


def _source(module: ModuleType) -> Any:
    """The source that a module is, or that it makes of what several share."""
    return getattr(module, "SOURCE", module)


SOURCES: dict[str, Source] = {
    name: cast(Source, _source(importlib.import_module(f"{__name__}.{name}")))
    for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    if name != "base"
}
"""Every source by its name."""
