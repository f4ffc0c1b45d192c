"""The digest of local data: equal contents are the same data, wherever they lie."""

import hashlib
import os
import time
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import canonical, read_json, sha256_of, write_json

SETTLED = 2_000_000_000
"""Nanoseconds after which a file's time of change tells a later change; coarser clocks would hide one."""


def files_below(path: Path) -> list[tuple[str, Path]]:
    """The files of a folder, or a file itself.

    Links are followed, hidden files and folders left out. A link to a folder that contains it is not followed.

    Args:
        path: a file or folder.

    Returns:
        Names relative to the folder, with `/`, and the files; sorted by name.

    Raises:
        UserError: there is no such file or folder, or no file in it.
    """
    if path.is_file():
        return [(path.name, path)]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    found: list[tuple[str, Path]] = []
    _walk(path, "", (path.resolve(),), found)
    if not found:
        raise UserError(f"{path}: no files in this folder")
    return sorted(found)


def _walk(folder: Path, prefix: str, above: tuple[Path, ...], found: list[tuple[str, Path]]) -> None:
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            found.append((f"{prefix}{entry.name}", entry))
        elif entry.is_dir() and (real := entry.resolve()) not in above:
            _walk(entry, f"{prefix}{entry.name}/", (*above, real), found)


def digest_of(path: Path, cache: Path | None = None) -> str:
    """The digest of a local file or folder: names and contents, not places or times.

    Args:
        path: a file or folder.
        cache: JSON file that remembers the hashes of files that have not changed, so that large files are not read at
            each start. It may be missing or damaged.

    Returns:
        64 hex digits.

    Raises:
        UserError: there is no such file or folder, or no file in it.
    """
    known: dict[str, list[object]] = {}
    if cache is not None and cache.exists():
        try:
            stored = read_json(cache)
        except UserError:
            stored = None
        known = stored if isinstance(stored, dict) else {}
    added = False
    contents = []
    for name, file in files_below(path):
        place = os.fspath(file.resolve())
        before = file.stat()
        state = [before.st_size, before.st_mtime_ns]
        entry = known.get(place)
        if isinstance(entry, list) and len(entry) == 3 and entry[:2] == state:
            digest = str(entry[2])
        else:
            digest = sha256_of(file)
            after = file.stat()
            unchanged = [after.st_size, after.st_mtime_ns] == state
            if unchanged and time.time_ns() - before.st_mtime_ns > SETTLED:
                known[place] = [*state, digest]
                added = True
        contents.append([name, digest])
    if cache is not None and added:
        write_json(cache, known)
    return hashlib.sha256(canonical(contents).encode()).hexdigest()
