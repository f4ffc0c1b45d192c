"""Encoders, and references as they encode them: what scores that compare texts by an encoder are made from."""

import re
from dataclasses import dataclass
from pathlib import Path

from loragrid.study.grid import Encoder, Prompts, References
from loragrid.study.keys import ENCODING_VERSION, key_of, short, slug_of


@dataclass(frozen=True)
class By:
    """The encoder that a score asks for.

    Args:
        name: repository on the hub, or a local folder.
        revision: commit, tag or branch on the hub.
        layer: whose hidden states are taken.
    """

    name: str
    revision: str
    layer: int

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return is_local(self.name)


def is_local(name: str) -> bool:
    """Whether an encoder's name is a folder's: it begins with /, ., ~ or $, which no repository does."""
    return re.match(r"[/.~$]", name) is not None


def encoder_of(by: By, digest: str | None) -> Encoder:
    """An encoder with its key.

    Args:
        by: what is asked for.
        digest: of the content, for a local folder.
    """
    origin = {"content": digest} if by.is_local else {"id": by.name, "revision": by.revision}
    key = key_of("encoder", origin)
    slug = slug_of(Path(by.name).name)
    return Encoder(
        id=f"{slug}-{short(key)}",
        key=key,
        slug=slug,
        hub=None if by.is_local else by.name,
        revision=None if by.is_local else by.revision,
        path=by.name if by.is_local else None,
    )


def references_of(prompts: Prompts, encoder: Encoder, layer: int) -> References:
    """The references of an evaluation as a layer of an encoder sees them."""
    settings = {"prompts": prompts.key, "encoder": encoder.key, "layer": layer, "version": ENCODING_VERSION}
    key = key_of("references", settings)
    name = f"{encoder.slug}-{short(key)}"
    return References(id=f"{prompts.id}/{name}", key=key, prompts=prompts.id, encoder=encoder.id, layer=layer)
