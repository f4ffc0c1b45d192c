"""Readers of the datasets' original formats, one module each; a new file here is a new dataset."""

import importlib
import pkgutil
from typing import cast

from loragrid.data.sources.base import Source

SOURCES: dict[str, Source] = {
    name: cast(Source, importlib.import_module(f"{__name__}.{name}"))
    for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    if name != "base"
}
"""Every source by its name."""
