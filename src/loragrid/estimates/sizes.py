"""The dimensions of a base model, as far as they are known before it is loaded."""

import contextlib
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.modeling.dimensions import Dimensions, dimensions_of
from loragrid.study.grid import Encoder, ModelEntry
from loragrid.study.references import expand
from loragrid.study.schema.models import Build
from loragrid.study.swiglu import swiglu_width

SHAPE = 128
"""Hidden width over layers in the Llama 2 family up to 13B (Touvron et al. 2023): 4096/32, 5120/40."""

VOCABULARY = 128_000
"""Assumed where only the number of parameters is known: Llama 3's, so that the guess errs towards more memory."""

EMBEDDING_SHARE = 0.25
"""But embeddings and head are taken for no more than this share of all parameters."""


def dimensions(model: ModelEntry) -> Dimensions | None:
    """A model's dimensions: of its `build`, its config.json if that is here, else guessed from its `parameters`.

    Returns:
        The dimensions, or None if nothing is known.

    Raises:
        UserError: its config.json cannot be read.
    """
    if model.build is not None:
        return _of_build(Build.model_validate(model.build))
    folders = [Path(model.folder)]
    if model.path is not None:
        with contextlib.suppress(UserError):  # told when the model is copied
            folders.append(expand(model.path))
    for folder in folders:
        file = folder / "config.json"
        try:
            found = dimensions_of(read_json(file)) if file.exists() else None
        except UserError as error:
            raise UserError(f"models.{model.label}: {error}") from None
        if found is not None:
            return found
    return guess(model.parameters) if model.parameters else None


def file_bytes(model: ModelEntry) -> float:
    """Bytes of a weight in a model's files: 4 for a model made here; of the hub's, nearly all are in 16 bits."""
    return 4 if model.build is not None else 2


def guess(parameters: float) -> Dimensions:
    """Dimensions of a Llama with about so many parameters.

    Without grouped-query attention and with a large vocabulary, so that the memory it needs is not guessed too low.
    """
    hidden = 64
    while _llama(hidden, parameters).parameters < parameters:
        hidden += 64
    return _llama(hidden, parameters)


ENCODERS = {"xxlarge": 1.5e9, "xlarge": 7.5e8, "large": 3.6e8, "base": 1.3e8, "small": 4e7, "mini": 3e7, "tiny": 1e7}
"""Parameters of encoders, by the word in their name that tells: about those of DeBERTa, RoBERTa and MiniLM."""


def encoder_parameters(encoder: Encoder) -> float:
    """Parameters of an encoder: by its config.json if that is here, else guessed from its name, else of a large one."""
    folders = [Path(encoder.folder)]
    if encoder.path is not None:
        folders.append(expand(encoder.path))
    for folder in folders:
        with contextlib.suppress(UserError):  # told when it is loaded
            if found := dimensions_of(read_json(folder / "config.json")):
                # Without a head; and few have one embedding for each token type more.
                return found.linear + found.vocabulary * found.hidden
    name = encoder.id.lower()
    return next((number for word, number in ENCODERS.items() if word in name), ENCODERS["large"])


def _llama(hidden: int, parameters: float) -> Dimensions:
    vocabulary = min(VOCABULARY, int(parameters * EMBEDDING_SHARE / 2 / hidden))
    heads = max(1, hidden // 128)
    return Dimensions(
        hidden=hidden,
        intermediate=swiglu_width(hidden),
        layers=max(1, round(hidden / SHAPE)),
        heads=heads,
        kv_heads=heads,
        head_width=hidden // heads,
        vocabulary=vocabulary,
        guessed=True,
    )


def _of_build(build: Build) -> Dimensions:
    return Dimensions(
        hidden=build.hidden,
        intermediate=build.intermediate,
        layers=build.layers,
        heads=build.heads,
        kv_heads=build.heads,
        head_width=build.hidden // build.heads,
        vocabulary=build.vocabulary,
        context=build.context,
    )
