"""Work on members of a batch, each attempt with a log of its own, and a record of how it ended."""

import contextlib
import errno
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from loragrid.errors import NodeError, ServerFailed, ServerOutOfMemory, UserError
from loragrid.jobs.attempts import (
    FAILED,
    Blocked,
    came_further,
    deaths,
    next_number,
    out_of_memory_attempts,
    record_begin,
    record_end,
    settle_killed,
)
from loragrid.jobs.environment import is_main_process, peak_memory, release_memory
from loragrid.jobs.failures import record_failure
from loragrid.jobs.stop import Interrupted, Stop
from loragrid.study.members import Member

M = TypeVar("M", bound=Member)

Work = Callable[[M, Path, Stop], None]
"""Does the work of one member in its folder, and leaves it when told to stop."""

WorkTogether = Callable[[Sequence[M], Stop, Callable[[M, UserError], None]], None]
"""Likewise of several members at once; the function that it is given takes note of one that failed for good."""


def attempt_members(
    members: Sequence[M],
    stage: str,
    work: Work[M],
    seconds_left: Callable[[], float | None] = lambda: None,
) -> bool:
    """Work on members of a batch one after the other: `attempt_groups` of one each.

    Args:
        members: as there.
        stage: as there.
        work: does the work of one.
        seconds_left: as there.
    """

    def alone(group: Sequence[M], stop: Stop, _: Callable[[M, UserError], None]) -> None:
        work(group[0], group[0].work, stop)

    return attempt_groups(members, stage, alone, seconds_left)


def attempt_groups(
    members: Sequence[M],
    stage: str,
    work: WorkTogether[M],
    seconds_left: Callable[[], float | None] = lambda: None,
    grouped: Callable[[Sequence[M]], Sequence[Sequence[M]]] | None = None,
) -> bool:
    """Work on members of a batch, as far as they are not settled yet and until an error comes that was not foreseen.

    The work on a group is one attempt with one log, which the records of each of its members name. Whoever calls this
    owns the folders (`jobs/owner.py`), or is the only one that could work there.

    Args:
        members: of the batch, in the order in which they are worked on.
        stage: `train`, `log_probabilities` or `generate`, for the failure's record.
        work: does the work of a group.
        seconds_left: asks for the time that the job has left, in seconds; None without a limit.
        grouped: puts members into groups. Default: each into one of its own, as one that has died before in any case,
            or for which the memory was too small, since it may have been the cause.

    Returns:
        Whether these members are settled now; if not, another process goes on with the rest.
    """
    for member in members:
        if member.is_settled():
            print(f"{member.folder}: nothing left to do", flush=True)
    left = [member for member in members if not member.is_settled()]
    suspects = {
        member.folder
        for member in left
        if grouped is None or deaths(member.work) or out_of_memory_attempts(member.work)
    }
    groups = list(grouped([member for member in left if member.folder not in suspects])) if grouped else []
    with Stop(seconds_left).listening() as stop:
        for group in [*groups, *([member] for member in left if member.folder in suspects)]:
            if stop.requested:
                break  # start nothing new
            # What was not foreseen may have left anything behind; after an error of CUDA a process is of no use.
            if not _attempt(group, stage, stop, work):
                break
            release_memory()
    return all(member.is_settled() for member in members)


def _attempt(members: Sequence[M], stage: str, stop: Stop, work: WorkTogether[M]) -> bool:
    """Make one attempt at a group of members, and put on record how it ended for each; whether it was as foreseen."""
    for member in members:
        member.work.mkdir(parents=True, exist_ok=True)
        if is_main_process():
            (member.work / FAILED).unlink(missing_ok=True)  # it told of something else that had failed
            settle_killed(member.work)
    log = members[0].work / f"attempt-{next_number(members[0].work)}.log"
    started = time.time()
    if is_main_process():
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
        together = {"together": len(members)} if len(members) > 1 else {}
        for member in members:
            number = record_begin(member.work, started=started, log=str(log), gpus=gpus, **together)
            print(f"{member.folder}: attempt {number}, log in {log}", flush=True)
    failed: dict[str, str] = {}

    def fail(member: M, error: UserError) -> None:
        failed[member.folder] = str(error)
        print(f"{member.folder}: failed for good: {error}", flush=True)
        blocked_by = str(error.by) if isinstance(error, Blocked) else None
        if is_main_process():
            record_failure(member.work / FAILED, stage, str(error), str(log), blocked_by)

    ended, why, foreseen, progress, elsewhere = "finished", "", True, True, False
    with _output_to(log):
        try:
            work(members, stop, fail)
        except UserError as error:
            for member in members:
                if member.folder not in failed and not member.is_settled():
                    fail(member, error)
        except Interrupted as error:
            ended, why, progress = "stopped" if error.by_clock else "terminated", str(error), error.progress
        except NodeError as error:  # it says what to do, and no line of ours is to blame
            ended, why, foreseen, elsewhere = "failed", str(error), False, True
            print(why, flush=True)
        except Exception as error:
            ended, why, foreseen = _unexpected(error), f"{type(error).__name__}: {error}", False
            if ended == "killed":
                why = f"another of its processes is gone ({why})"
            traceback.print_exc()
            if _is_out_of_room(error):
                why = (
                    f"there was no room left on the disk, or in the quota, to save what {members[0].work} needs "
                    f"({why}). Make room first: a training keeps two checkpoints, each of three times its adapter"
                )
                # Whoever tries again without more room comes here again. Where not even this has room, it is tried.
                with contextlib.suppress(OSError):
                    for member in members:
                        record_failure(member.work / FAILED, stage, why, str(log))
                        failed[member.folder] = why
    for member in members:
        how, reason, went_on = ended, why, progress
        if member.folder in failed:
            how, reason, went_on = "failed", failed[member.folder], True
        elif not foreseen:
            went_on = came_further(member.work, started)
        elif len(members) > 1 and member.is_settled():
            how, reason, went_on = "finished", "", True  # before the others were interrupted
        record = {"ended": how, "why": reason, "at": time.time(), "peak_memory_bytes": peak_memory()}
        record |= {"elsewhere": True} if elsewhere else {}
        record_end(member.work, record | {"progress": went_on} | ({"final": True} if member.folder in failed else {}))
        print(f"{member.folder}: {how}{': ' if reason else ''}{reason}", flush=True)
    return foreseen


def _unexpected(error: Exception) -> str:
    """How an attempt ended that no error of ours ended."""
    if isinstance(error, ServerOutOfMemory):
        return "out of host memory"
    if is_out_of_memory(error):
        return "out of memory"
    # gloo's and NCCL's words for a process that trained together with this one, and does not answer any more.
    gone = ("Connection reset by peer", "Connection closed by peer", "Broken pipe", "remote process exited")
    together = os.environ.get("WORLD_SIZE", "1") != "1"
    return "killed" if together and any(words in str(error) for words in gone) else "failed"


def _is_out_of_room(error: BaseException | None) -> bool:
    """Whether a file could not be written for want of room; safetensors only says so."""
    if error is None:
        return False
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    said = isinstance(error, SafetensorError) and any(f"os error {number}" in str(error) for number in full)
    return said or (isinstance(error, OSError) and error.errno in full) or _is_out_of_room(error.__cause__)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that a memory is too small, the GPU's or the host's."""
    # torch.OutOfMemoryError names itself; cuBLAS and CUDA's own errors only say so.
    said = str(error)
    if isinstance(error, ServerFailed):  # its log's words are about another process, which no smaller batch helps
        return False
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "CUDA error: out of memory" in said
        or "CUBLAS_STATUS_ALLOC_FAILED" in said
    )


@contextlib.contextmanager
def _output_to(file: Path) -> Iterator[None]:
    """Send everything this process prints, also from C libraries, to a file; each of several processes to its own."""
    if not is_main_process():
        file = file.with_stem(f"{file.stem}-rank-{os.environ['RANK']}")
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
