"""How a record becomes what a model is trained on and asked, one module each; a new file here is a new format."""

import importlib
import pkgutil
from typing import cast

from loragrid.data.formats.base import Format

FORMATS: dict[str, Format] = {
    name: cast(Format, importlib.import_module(f"{__name__}.{name}"))
    for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    if name != "base"
}
"""Every format by its name."""
