"""Readers of the datasets' original formats, one module each; a new file here is a new dataset."""

import importlib
import pkgutil
from typing import cast

from loragrid.data.sources.base import Source
from loragrid.errors import UserError

SOURCES: dict[str, Source] = {
    name: cast(Source, importlib.import_module(f"{__name__}.{name}"))
    for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    if name != "base"
}
"""Every source by its name."""


def get(name: str) -> Source:
    """Find a source.

    Args:
        name: the name of its module.

    Returns:
        The module.

    Raises:
        UserError: there is no such source; the message lists those there are.
    """
    if name not in SOURCES:
        raise UserError(f"source: no dataset is called {name!r}; there are {', '.join(SOURCES)}")
    return SOURCES[name]
