"""What the stages offer to a study, as a type: handed in, so that the study package imports none of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Registry:
    """What a study may name, and how local files are told apart.

    Args:
        sources: reader of each original format by name; of each, `VERSION`, `Options`, `KIND`, `STEPS`, `FORMAT`,
            `REMOTE` and `SIZE` are used.
        steps: cleaning steps by name; of each, `VERSION` and `Options` are used.
        formats: by name; of each, `VERSION`, `Options`, `KIND`, `OBJECTIVES` and `HAS_ANSWERS`
            are used.
        metrics: by name; of each, `VERSION`, `Options`, `PLACE`, `NEEDS` and the names of its `COLUMNS` are used.
        groups: names under which several metrics are asked for.
        templates: files of chat templates by name.
        digest: content digest of a local file or folder.
    """

    sources: Mapping[str, Any]
    steps: Mapping[str, Any]
    formats: Mapping[str, Any]
    metrics: Mapping[str, Any]
    groups: Mapping[str, tuple[str, ...]]
    templates: Mapping[str, Path]
    digest: Callable[[Path], str]
