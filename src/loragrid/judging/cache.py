"""Replies by what was asked: nothing is asked twice, in whatever study or run, or after being killed.

A file of JSON Lines for each judge, which only grows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from loragrid.errors import UserError
from loragrid.files import canonical, read_growing
from loragrid.study.keys import slug_of

FOLDER = Path("results/judge")


@dataclass(frozen=True)
class Reply:
    """What a server sent back.

    Args:
        text: of the judge, as it is.
        model: that answered, in the server's words; it may be a dated one of what was asked for.
        form: `json_schema` if the server was held to one, else `text`.
        tokens_in: of the prompt, as the server counts; 0 if it does not say.
        tokens_out: of the reply.
    """

    text: str
    model: str
    form: str
    tokens_in: int
    tokens_out: int


def request_key(request: Mapping[str, Any]) -> str:
    """What a request is known by: SHA-256 over model, sampling, all of the prompt, and which repeat it is."""
    # Generated text may have halves of characters in it, which have no UTF-8.
    return hashlib.sha256(canonical(request).encode("utf-8", "surrogatepass")).hexdigest()


class Cache:
    """The replies of one judge.

    Args:
        file: where they are; it is made.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(self, file: Path):
        self._file = file
        self._replies: dict[str, Reply] = {}
        if not file.exists():
            return
        try:
            for record in read_growing(file):
                key = record.pop("request")
                self._replies[key] = Reply(**record)
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{file}: has lines that are no replies of a judge; move it away, and all is asked anew"
            ) from None
        _drop_half_a_line(file)

    def get(self, key: str) -> Reply | None:
        """The reply to a request, if it was ever made."""
        return self._replies.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """Keep a reply, at once and for good."""
        line = json.dumps({"request": key, **asdict(reply)}) + "\n"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            file.write(line.encode("ascii"))
        self._replies[key] = reply


@contextmanager
def cache_of(model: str) -> Iterator[Cache]:
    """The replies of a judge, for one process at a time: two would ask the same, and twice as fast as is allowed."""
    name = slug_of(model)
    own = hashlib.sha256(model.encode()).hexdigest()[:6]  # names that differ in what a slug leaves out
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = FileLock(FOLDER / f".{name}-{own}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{model}: waits for another process that asks it; if none does, delete {lock.lock_file}", flush=True)
        lock.acquire()
    except OSError:
        pass  # a file system without locks: something may be asked twice
    try:
        yield Cache(FOLDER / f"{name}-{own}.jsonl")
    finally:
        lock.release()


def _drop_half_a_line(file: Path) -> None:
    """Cut off what a process that was killed has begun to write."""
    content = file.read_bytes()
    if not content.endswith(b"\n"):
        with file.open("r+b") as opened:
            opened.truncate(content.rfind(b"\n") + 1)
