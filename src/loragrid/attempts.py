"""How each attempt at a member of a batch ended, and failures that no repetition mends.

`attempts.jsonl` in the work folder has a line when an attempt begins and one when it ends; an attempt without an end
was killed, or still runs. `failed.json` says that trying again is hopeless: the next start tells the reason at once
instead of queueing the run again, until that file is deleted.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json


class Blocked(UserError):
    """Work is impossible as long as something before it has failed.

    Args:
        message: what failed, and why.
        by: the failed.json of that; once it is deleted, this failure counts no more.
    """

    def __init__(self, message: str, by: Path):
        self.by = by
        super().__init__(message)


class Interrupted(Exception):
    """Work was stopped from outside at a point from which it can go on; the message says how."""


def work_on(members: list[dict[str, Any]], stage: str, settled: Callable, folder: Callable, work: Callable) -> bool:
    """Work on each member of a batch that is not settled yet; one that fails does not hold up the others.

    Args:
        members: the batch's members.
        stage: `train` or `generate`, for the failure's record.
        settled: whether a member needs no work.
        folder: a member's work folder.
        work: does the work of one member in its folder.

    Returns:
        Whether all members are settled now; if not, repeating the batch goes on with the rest.
    """
    for member in members:
        place = folder(member)
        if settled(member):
            print(f"{place.parent}: nothing left to do", flush=True)
            continue
        place.mkdir(parents=True, exist_ok=True)
        number = _count(place) + 1
        log = place / f"attempt-{number}.log"
        _append(place, {"attempt": number, "started": time.time(), "log": str(log)})
        print(f"{place.parent}: attempt {number}, log in {log}", flush=True)
        ended, why = "finished", ""
        with _output_to(log):
            try:
                work(member, place)
            except UserError as error:
                ended, why = "failed", str(error)
                print(f"failed for good: {why}", flush=True)
                blocked_by = str(error.by) if isinstance(error, Blocked) else None
                write_json(
                    place / "failed.json", {"reason": why, "stage": stage, "log": str(log), "blocked_by": blocked_by}
                )
            except Interrupted as error:
                ended, why = "terminated", str(error)
            except Exception as error:
                ended, why = "out of memory" if _is_out_of_memory(error) else "failed", f"{type(error).__name__}: {error}"
                traceback.print_exc()
        _append(place, {"attempt": number, "ended": ended, "why": why, "log": str(log), "at": time.time()})
        print(f"{place.parent}: {ended}{': ' if why else ''}{why}", flush=True)
        if ended == "terminated":
            break  # the job is being ended: start nothing new
    return all(settled(member) for member in members)


def read_attempts(place: Path) -> list[dict[str, Any]]:
    """One record an attempt: its beginning, and its end if it had one."""
    attempts: dict[int, dict[str, Any]] = {}
    file = place / "attempts.jsonl"
    for line in read_jsonl(file) if file.exists() else ():
        attempts.setdefault(line["attempt"], {}).update(line)
    return list(attempts.values())


def _count(place: Path) -> int:
    return len(read_attempts(place))


def _append(place: Path, record: dict[str, Any]) -> None:
    # One short line in append mode: whole even if the process is killed right after.
    with (place / "attempts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints, also from C libraries, to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with file.open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved[0], 1)
            os.dup2(saved[1], 2)
            os.close(saved[0])
            os.close(saved[1])
