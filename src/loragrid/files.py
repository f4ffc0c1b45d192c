"""Files that are either whole or not there: atomic writing, hashes, JSON and JSON Lines.

Every stage publishes through these functions, so a killed job never leaves an output that looks finished.
"""

import codecs
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from loragrid.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a text file that takes `path`'s place only when the block ends without an error.

    Args:
        path: the file to write (UTF-8, `\\n` line ends); its folder is made.

    Yields:
        The open temporary file, in the same folder so that the final rename is atomic.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes private files; results are for the whole group, as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as file:
        file.write(text)


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no blanks, so that equal settings have equal hashes.

    Raises:
        ValueError: a float is NaN or infinite.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs: indented, keys in the order given, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def unreadable(path: Path, error: OSError) -> str:
    """What to tell of a file or folder that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file"
    return f"{path}: cannot be read ({error.strerror})"


def encoding_of(beginning: bytes) -> str:
    """What a file that is no UTF-8 seems to be encoded in, and what to do; empty if its beginning does not tell.

    Args:
        beginning: its first bytes.
    """
    is_utf16 = beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return "it seems to be UTF-16: save it as UTF-8" if is_utf16 else ""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file cannot be read or is not JSON; the message names it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(unreadable(path, error)) from None
    try:
        return json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid UTF-8 ({encoding_of(content) or error})") from None
    except (json.JSONDecodeError, RecursionError) as error:  # brackets in brackets without end
        raise UserError(f"{path}: not valid JSON ({error})") from None


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Write one JSON value a line, atomically."""
    with replacing(path) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: Path) -> Iterator[Any]:
    """Read JSON Lines, one value at a time.

    Raises:
        UserError: the file cannot be read or a line is not JSON; the message names file and line.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UserError(unreadable(path, error)) from None
    with file:
        yield from parse_jsonl(file, path)


def parse_jsonl(lines: Iterable[bytes], path: Path, first: int = 1) -> Iterator[Any]:
    """The values of lines of a JSON Lines file.

    Args:
        lines: some that follow each other in the file.
        path: the file, for messages.
        first: number of the first of them in the file, from 1.

    Raises:
        UserError: a line is not JSON; the message names file and line.
    """
    for number, line in enumerate(lines, start=first):
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(f"{path}:{number}: not valid UTF-8 ({error})") from None
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}:{number}: not valid JSON ({error})") from None
        yield value


def read_growing(path: Path) -> Iterator[Any]:
    """Read JSON Lines that somebody writes at this moment, or did in a crash: a last line without its end is left out.

    Raises:
        UserError: the file cannot be read, or a whole line is not JSON; the message names file and line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(unreadable(path, error)) from None
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}:{number}: not valid JSON ({error})") from None


def make_once(folder: Path, names: Sequence[str], make: Callable[[], None]) -> None:
    """Make what several studies share, unless it is there; who comes while another process makes it waits for that.

    Args:
        folder: where it lies.
        names: files there that say that all of it is there.
        make: makes it.
    """
    lock = Path("data/.locks", "-".join(folder.parts) + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(lock, timeout=0))
        except Timeout:
            print(f"{folder}: waits for another process that makes it; if none does, delete {lock}", flush=True)
            stack.enter_context(FileLock(lock))
        except OSError:
            pass  # a file system without locks: what is made is written whole in any case
        if all((folder / name).exists() for name in names):
            print(f"{folder}: is there; to make it again, delete it", flush=True)
            return
        make()


def remove(path: Path) -> None:
    """Remove whatever lies there, as far as that can be done: a folder and what it holds, a file, or a link.

    Args:
        path: what shall be gone; where a link leads to, everything stays.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
