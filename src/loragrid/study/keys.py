"""Keys: equal settings are the same file, in whatever study.

A key is a hash over everything that an artifact depends on, and includes the keys of what it was made from. What only
says where or how fast something is computed (device, number of GPUs, micro-batch, local paths) is not in it. Fields at
their default are left out, so that a new field with its default changes no key; a golden test pins ten of them.
"""

import hashlib
import re
from typing import TYPE_CHECKING, Any

from loragrid.files import canonical

if TYPE_CHECKING:  # processes of jobs do without
    from pydantic import BaseModel

RECIPE_VERSION = 1
"""Raised when the same recipe comes to mean another training: every run is then trained anew."""

BUILD_VERSION = 1
"""Raised when the same `build` settings come to make another model, or a default of theirs changes."""

CLEAN_VERSION = 2
"""Raised when splits, the choice of rows or what is dropped come out otherwise for the same records and settings."""

MIXTURE_VERSION = 1
"""Raised when the same datasets and numbers come to make another mixture."""

CONTAMINATION_VERSION = 1
"""Raised when the same data comes to have other things in common with what is asked."""

FORMAT_VERSION = 1
"""Raised when the same examples come to be tokenised, masked or cut in another way."""

LOG_PROBABILITIES_VERSION = 1
"""Raised when the same model comes to give answers other log-probabilities."""

PROMPTS_VERSION = 1
"""Raised when the same examples come to make other prompts or references."""

CONTEXT_VERSION = 1
"""Raised when the same `context` comes to leave other text of the same dialogues, as with other lists of stopwords."""

REPLAY_VERSION = 1
"""Raised when the same conversations come to make other turns."""

CHOICE_VERSION = 1
"""Raised when the same questions come to be asked, or their choices compared, in another way."""

DECODING_VERSION = 1
"""Raised when the same prompts and settings come to be answered in another way."""

DRAWING_VERSION = 2
"""The same for answers that are drawn, or whose repetitions are penalised. 2: each by itself, whatever is beside it."""

VLLM_VERSION = 1
"""The same for answers by vLLM, in place of the two above: raised with a pin in envs/vllm.txt that changes them."""

ENCODING_VERSION = 1
"""Raised when the same references come to be encoded in another way."""

PREFLIGHT_VERSION = 3
"""Raised when the same model, data and settings come to be looked at in another way."""

SHORT = 10
"""Hex digits of a key in a name; run.json has the whole key, which is checked whenever a run is reused."""


def key_of(stage: str, settings: dict[str, Any]) -> str:
    """The key of an artifact: SHA-256 over its stage and settings, 64 hex digits.

    Args:
        stage: which kind of artifact, so that equal settings of two stages differ.
        settings: JSON values; the order of keys does not matter.
    """
    return hashlib.sha256(f"{stage}\n{canonical(settings)}".encode()).hexdigest()


def short(key: str) -> str:
    """The part of a key that stands in names."""
    return key[:SHORT]


def slug_of(name: str) -> str:
    """A name in the form in which it stands in paths: what people look for there, before the key."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "model"


def changed(part: "BaseModel") -> dict[str, Any]:
    """The fields of a part that differ from their defaults, numbers in one form (16 and 16.0 are the same setting)."""
    return {name: plain(value) for name, value in part.model_dump(exclude_defaults=True).items()}


def plain(value: Any) -> Any:
    """A JSON value in the one form that keys use: whole floats as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
