"""References as an encoder sees them: computed once for all answers to an evaluation, and kept in a file."""

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from loragrid.errors import UserError
from loragrid.files import canonical
from loragrid.scoring.rows import by_id

if TYPE_CHECKING:
    from loragrid.modeling.encoder import Encoded, Encoder

_PARTS = ("vectors", "ids", "ends", "cut", "rows")


def encoded_references(file: Path, key: str, prompts: Path, encoder: "Encoder") -> "Encoded":
    """The references of an evaluation, in the order of its prompts; encoded if the file is not there, or not sound.

    Vectors are kept in float32, as they were computed: half as long, they would move values in the fourth place.

    Args:
        file: safetensors.
        key: of the references.
        prompts: JSON Lines with `id`, `dialogue` and `reference`.
        encoder: loaded.

    Raises:
        UserError: there are no prompts.
    """
    texts = [prompt["reference"] for prompt in by_id(prompts, ("dialogue", "reference")).values()]
    if not texts:
        raise UserError(f"{prompts}: no prompts, so there is nothing to encode")
    made = {"key": key, "texts": hashlib.sha256(canonical(texts).encode()).hexdigest()}
    file.parent.mkdir(parents=True, exist_ok=True)
    if (found := _read(file, made)) is not None:
        return found
    with FileLock(file.with_name(f".{file.name}.lock")):  # jobs that find the same damage mend it once
        if (found := _read(file, made)) is None:
            found = encoder.encode_all(texts)
            _write(file, found, made)
            print(f"{file}: {len(found.ends)} different references of {len(found)} encoded", flush=True)
    return found


def _read(file: Path, made: dict[str, str]) -> "Encoded | None":
    """What the file holds; None if it is not there, was made from something else, or is damaged."""
    from safetensors import SafetensorError, safe_open

    from loragrid.modeling.encoder import Encoded

    if not file.exists():
        return None
    try:
        with safe_open(file, framework="pt") as opened:
            about = opened.metadata() or {}
            parts = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 no dict
    except (OSError, SafetensorError) as error:
        print(f"{file}: damaged ({error}); made again", flush=True)
        return None
    if about != made | {"sha256": _digest(parts)} or set(parts) != set(_PARTS):
        print(f"{file}: stale or damaged; made again", flush=True)
        return None
    return Encoded(**parts)


def _write(file: Path, encoded: "Encoded", made: dict[str, str]) -> None:
    from safetensors.torch import save_file

    parts = {name: getattr(encoded, name).contiguous() for name in _PARTS}
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(descriptor)
    try:
        save_file(parts, name, metadata=made | {"sha256": _digest(parts)})
        # mkstemp makes private files; results are for the whole group, as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(file)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _digest(parts: dict) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name} {list(part.shape)} {part.dtype}".encode())
        digest.update(memoryview(part.contiguous().numpy()).cast("B"))
    return digest.hexdigest()
