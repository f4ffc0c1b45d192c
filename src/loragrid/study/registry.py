"""What the stages offer to a study, as a type: handed in, so that the study package imports none of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Family:
    """A score family: metrics that need the same things and are computed together.

    Args:
        metrics: version of each metric by name; raising one rescores the family.
        needs_model: computed over base and adapter in the generate job, instead of from the generations.
    """

    metrics: Mapping[str, int]
    needs_model: bool


@dataclass(frozen=True)
class Registry:
    """What a study may name, and how local files are told apart.

    Args:
        sources: reader of each original format by name; of each, `VERSION`, `Options`, `KIND`, `STEPS`, `FORMAT`,
            `REMOTE` and `SIZE` are used.
        steps: cleaning steps by name; of each, `VERSION` and `Options` are used.
        formats: by name; of each, `VERSION`, `Options`, `KIND`, `METHODS` and `HAS_ANSWERS`
            are used.
        families: score families by name.
        templates: files of chat templates by name.
        digest: content digest of a local file or folder.
    """

    sources: Mapping[str, Any]
    steps: Mapping[str, Any]
    formats: Mapping[str, Any]
    families: Mapping[str, Family]
    templates: Mapping[str, Path]
    digest: Callable[[Path], str]
