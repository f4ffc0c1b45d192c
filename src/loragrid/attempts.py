"""How each attempt at a member of a batch ended, and failures that no repetition mends.

`attempts.jsonl` in the work folder has a line when an attempt begins and one when it ends; an attempt without an end
still runs, or was killed, which the next attempt puts on record. `failed.json` says that trying again is hopeless: the
next start tells the reason at once instead of queueing the run again, until that file is deleted.
"""

import contextlib
import functools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json
from loragrid.modeling.environment import is_main_process, peak_memory, release_memory

ATTEMPTS = "attempts.jsonl"
FAILED = "failed.json"


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


class Stop:
    """Whether this process has been told to end: by Slurm's SIGTERM some time before the limit, or by Ctrl-C.

    Work asks for it at points from which it can go on. SIGTERM may come again, and changes nothing then; a second
    Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self.requested = False

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals for the length of a block."""
        before = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self, where: str) -> None:
        """End the work here if the process was told to.

        Raises:
            Interrupted: it was.
        """
        if self.requested:
            raise Interrupted(f"told to end {where}; a repetition goes on from there")

    def _request(self, number: int, _: Any) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def work_on(
    members: list[dict[str, Any]],
    stage: str,
    settled: Callable[[dict[str, Any]], bool],
    folder: Callable[[dict[str, Any]], Path],
    work: Callable[[dict[str, Any], Path, Stop], None],
) -> bool:
    """Work on each member of a batch that is not settled yet; one that fails does not hold up the others.

    Args:
        members: the batch's members.
        stage: `train` or `generate`, for the failure's record.
        settled: whether a member needs no work.
        folder: a member's work folder.
        work: does the work of one member in its folder, and leaves it when told to stop.

    Returns:
        Whether all members are settled now; if not, repeating the batch goes on with the rest.
    """
    with Stop().listening() as stop:
        for member in members:
            place = folder(member)
            if settled(member):
                print(f"{place.parent}: nothing left to do", flush=True)
                continue
            if stop.requested:
                break  # start nothing new
            _attempt(place, stage, functools.partial(work, member, place, stop))
            release_memory()
    return all(settled(member) for member in members)


def read_attempts(place: Path) -> list[dict[str, Any]]:
    """One record an attempt: its beginning, and its end if it had one."""
    attempts: dict[int, dict[str, Any]] = {}
    file = place / ATTEMPTS
    for line in read_jsonl(file) if file.exists() else ():
        attempts.setdefault(line["attempt"], {}).update(line)
    return list(attempts.values())


def cost_of(place: Path) -> dict[str, Any]:
    """What the attempts took so far, the present one included.

    Returns:
        `seconds` that they lasted, a killed one until its last sign of life; `peak_memory_bytes`, the most that any
        took that was not killed; `attempts`, their number.
    """
    attempts = read_attempts(place)
    now = time.time()
    return {
        "seconds": round(sum(max(0.0, attempt.get("at", now) - attempt["started"]) for attempt in attempts), 3),
        "peak_memory_bytes": max([peak_memory(), *(attempt.get("peak_memory_bytes", 0) for attempt in attempts)]),
        "attempts": len(attempts),
    }


def _attempt(place: Path, stage: str, work: Callable[[], None]) -> None:
    """Make one attempt at a member, and put on record how it ended."""
    place.mkdir(parents=True, exist_ok=True)
    (place / FAILED).unlink(missing_ok=True)  # it told of something else that had failed, and counts no more
    earlier = read_attempts(place)
    if earlier and "ended" not in earlier[-1]:
        _append(place, {"attempt": len(earlier), "ended": "killed", "why": "", "at": _last_sign_of_life(place)})
    number = len(earlier) + 1
    log = place / f"attempt-{number}.log"
    _append(place, {"attempt": number, "started": time.time(), "log": str(log)})
    print(f"{place.parent}: attempt {number}, log in {log}", flush=True)
    ended, why = "finished", ""
    with _output_to(log):
        try:
            work()
        except UserError as error:
            ended, why = "failed", str(error)
            print(f"failed for good: {why}", flush=True)
            blocked_by = str(error.by) if isinstance(error, Blocked) else None
            if is_main_process():
                failure = {"reason": why, "stage": stage, "log": str(log), "blocked_by": blocked_by}
                write_json(place / FAILED, failure)
        except Interrupted as error:
            ended, why = "terminated", str(error)
        except Exception as error:
            ended = "out of memory" if _is_out_of_memory(error) else "failed"
            why = f"{type(error).__name__}: {error}"
            traceback.print_exc()
    end = {"attempt": number, "ended": ended, "why": why, "at": time.time(), "peak_memory_bytes": peak_memory()}
    _append(place, end)
    print(f"{place.parent}: {ended}{': ' if why else ''}{why}", flush=True)


def _append(place: Path, record: dict[str, Any]) -> None:
    if not is_main_process():
        return
    # One short line in append mode: whole even if the process is killed right after.
    with (place / ATTEMPTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _last_sign_of_life(place: Path) -> float:
    """When a killed attempt last wrote something (seconds since 1970): the hours in the queue after it cost nothing."""
    return max(file.stat().st_mtime for file in place.rglob("*") if file.is_file())


def _is_out_of_memory(error: Exception) -> bool:
    # torch.OutOfMemoryError names itself; cuBLAS and CUDA's own errors only say so.
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "CUDA error: out of memory" in said
        or "CUBLAS_STATUS_ALLOC_FAILED" in said
    )


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints, also from C libraries, to a file (the first of several processes)."""
    if not is_main_process():
        yield
        return
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
