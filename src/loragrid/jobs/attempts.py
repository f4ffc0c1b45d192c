"""How each attempt at a member of a batch ended, and failures that no repetition mends.

`attempts.jsonl` in the work folder has a line when an attempt begins and one when it ends; an attempt without an end
still runs, or was killed, which the next attempt puts on record. `failed.json` says that trying again is hopeless: the
next start tells the reason at once instead of queueing the run again, until that file is deleted.

An attempt ends as `finished`; `stopped` (by the clock) or `terminated` (by a signal), to be continued; `out of memory`
(the GPU's: the next attempt halves the micro-batch); `out of host memory` (the next job asks for more); `out of time`
(killed at the job's limit; where there is nothing to go on from, the next job asks for more); `killed`; `failed`.
"""

import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_growing
from loragrid.jobs import slurm
from loragrid.jobs.environment import is_main_process, peak_memory
from loragrid.jobs.failures import record_failure
from loragrid.jobs.owner import LOCK, if_free
from loragrid.jobs.standing import standing_of

MOST_DEATHS = 3
"""Deaths of a member in a row, without its coming further, after which it is not tried again."""

MOST_GROWTH = 3
"""Times that a request grows: what needs more than that needs somebody to look at it."""

ATTEMPTS = "attempts.jsonl"
FAILED = "failed.json"

OUT_OF_TIME = "out of time"
"""How an attempt without checkpoints ended that came to its job's time limit."""

ENDING = 30.0
"""Seconds within which Slurm knows how a job ended that Snakemake has already seen fail."""

ENDED_BY_SLURM = {"OUT_OF_MEMORY": "out of host memory", "TIMEOUT": OUT_OF_TIME}
"""How an attempt ended, by the state in which Slurm ended its job."""


class Blocked(UserError):
    """Work is impossible as long as something before it has failed.

    Args:
        message: what failed, and why.
        by: the failed.json of that; once it is deleted, this failure counts no more.
    """

    def __init__(self, message: str, by: Path):
        self.by = by
        super().__init__(message)


def read_attempts(place: Path) -> list[dict[str, Any]]:
    """One record an attempt: its beginning, and its end if it had one."""
    file = place / ATTEMPTS
    attempts: dict[int, dict[str, Any]] = {}
    for line in read_growing(file) if file.exists() else ():
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


def settle_killed(place: Path, ended: str = "killed", why: str = "") -> None:
    """Put on record that the last attempt was killed, if it has begun and not ended.

    Args:
        place: a member's work folder, owned by this process: a living attempt would be another one's.
        ended: `killed` or `out of host memory`.
        why: what is known of it by who has started its process, and lives; if that is nothing, it was killed together
            with its job, and Slurm is asked about that.
    """
    attempts = read_attempts(place)
    if not attempts or "ended" in attempts[-1]:
        return
    last = attempts[-1]
    alone = bool(why)
    if not why and last.get("job") and (state := slurm.final_state(last["job"])):
        ended, why = ENDED_BY_SLURM.get(state, ended), f"Slurm job {last['job']}: {state}"
    progress = came_further(place, last["started"])
    how = {"ended": ended, "why": why, "at": _last_sign_of_life(place), "progress": progress, "alone": alone}
    _append(place, {"attempt": last["attempt"], **how})


def begin_attempt(place: Path) -> int:
    """Put on record that this process makes an attempt at work without a work folder; another job may make one, too.

    Args:
        place: the folder of the records; it is made.

    Returns:
        The attempt's number.
    """
    place.mkdir(parents=True, exist_ok=True)
    try:
        settle_if_over(place)
    except UserError as error:
        print(f"{error}; begun anew", flush=True)  # it only serves the next requests
        (place / ATTEMPTS).unlink()
    number = len(read_attempts(place)) + 1
    _append(place, {"attempt": number, "started": time.time(), **_identity()})
    return number


def end_attempt(place: Path, number: int, ended: str, why: str = "") -> None:
    """Put on record how such an attempt ended.

    Args:
        place: the folder of the records.
        number: the attempt's.
        ended: see this module's description.
        why: the reason, for people.
    """
    _append(place, {"attempt": number, "ended": ended, "why": why, "at": time.time()})


def settle_if_over(place: Path, patience: float = 0) -> None:
    """Put on record that the last attempt was killed, if it was this job's earlier life, or its job is over.

    Args:
        place: the folder of the records.
        patience: seconds to wait for a job that is ending.
    """
    last = (read_attempts(place) or [{}])[-1]
    if (job := last.get("job")) and "ended" not in last and (job == slurm.own_job() or slurm.is_over(job, patience)):
        settle_killed(place)


def settle_if_gone(place: Path, patience: float = 0) -> None:
    """Put on record that the last attempt was killed, if nothing works on it any more.

    Args:
        place: a member's work folder.
        patience: seconds to wait for a job that is ending.
    """
    attempts = read_attempts(place)
    if attempts and "ended" not in attempts[-1]:
        if job := attempts[-1].get("job"):
            slurm.is_over(job, patience)
        with if_free(place) as gone:
            if gone:
                settle_killed(place)


def out_of_memory_attempts(place: Path) -> int:
    """How many attempts the GPU's memory was too small for; each halves the micro-batch of those after it.

    Those before a failure do not count: once its failed.json is deleted, everything is tried anew, perhaps on a GPU
    with more memory.
    """
    ends = [attempt.get("ended") for attempt in read_attempts(place)]
    since = len(ends) - ends[::-1].index("failed") if "failed" in ends else 0
    return ends[since:].count("out of memory")


def deaths(place: Path) -> int:
    """How many attempts at a member in a row ended by an error that nobody foresaw, or killed, and came no further.

    What the host's memory or the job's time was too small for does not count: the next job asks for more. Nor does one
    that was killed together with its job, whose node may have failed, or that says that its node is no good; nor what
    came before a failure for good, whose record somebody has deleted.

    Args:
        place: its work folder.
    """
    return sum(_has_died(attempt) for attempt in _fruitless(place))


def fruitless_attempts(place: Path) -> int:
    """How many attempts at a member in a row came no further, whatever ended them.

    Args:
        place: its work folder.
    """
    return len(_fruitless(place))


def _fruitless(place: Path) -> list[dict[str, Any]]:
    """The last attempts, as many in a row as came no further."""
    ended = [attempt for attempt in read_attempts(place) if "ended" in attempt]
    gains = (number for number, each in enumerate(ended, 1) if each.get("progress") or each.get("final"))
    return ended[max(gains, default=0) :]


def _has_died(attempt: Mapping[str, Any]) -> bool:
    if attempt.get("elsewhere"):
        return False
    return attempt["ended"] == "failed" or (attempt["ended"] == "killed" and bool(attempt.get("alone")))


def give_up_if_hopeless(place: Path, stage: str) -> None:
    """Put on record that a member is not tried again, if it died too often, or its host's memory was always too small.

    Args:
        place: its work folder.
        stage: `train`, `log_probabilities` or `generate`.
    """
    fruitless = _fruitless(place)
    died = sum(map(_has_died, fruitless))
    starved = sum(attempt["ended"] == "out of host memory" for attempt in fruitless)
    if died < MOST_DEATHS and starved <= MOST_GROWTH:
        return
    why = (
        f"it died {died} times in a row" if died >= MOST_DEATHS else f"the host's memory was too small {starved} times"
    )
    last = read_attempts(place)[-1]
    reason = f"{why} without coming further ({last.get('why') or 'no reason known'})"
    record_failure(place / FAILED, stage, reason, str(last.get("log", "")))
    _append(place, {"attempt": last["attempt"], "final": True})


def came_further(place: Path, since: float) -> bool:
    """Whether an attempt that has not ended as foreseen left something that the next one goes on from."""
    if any(file.stat().st_mtime >= since for file in (place / "checkpoints").rglob("*")):
        return True
    made = [*place.glob("generations.jsonl"), *place.glob("*-??????????.json")]
    if any(file.stat().st_mtime >= since for file in made):
        return True
    standing = standing_of(place, since)
    # Steps are kept by checkpoints; likelihoods are not kept before all of them are there.
    if standing is None or standing.what in ("steps", "likelihoods"):
        return False
    # Its standing is written every few seconds, answers are when they come.
    growing = place / "generations.part.jsonl"
    answered = growing.read_bytes().count(b"\n") if standing.what == "answers" and growing.exists() else 0
    return max(standing.done, answered) > standing.first


def record_begin(place: Path, *, started: float, **about: Any) -> int:
    """Put on record that this process begins an attempt.

    Args:
        place: a member's work folder, owned by this process.
        started: when (seconds since 1970).
        about: log, GPUs and whatever else.

    Returns:
        The attempt's number.
    """
    number = next_number(place)
    _append(place, {"attempt": number, "started": started, **about, **_identity()})
    return number


def next_number(place: Path) -> int:
    """The number of the attempt that begins, or that has begun, put on record by the first of several processes."""
    attempts = read_attempts(place)
    return len(attempts) + (not attempts or "ended" in attempts[-1])


def _identity() -> dict[str, Any]:
    """By what this process is found again: its Slurm job, host and number."""
    return {"job": slurm.own_job(), "host": platform.node(), "pid": os.getpid()}


def record_end(place: Path, record: dict[str, Any]) -> None:
    """Put the end on record: of several processes the first speaks for all, unless another one failed before it."""
    if not is_main_process() and record["ended"] not in ("failed", "out of memory", "killed"):
        return
    attempts = read_attempts(place)
    # A process that is left alone by another one's failure fails, too; the cause is what was first.
    if attempts and "ended" not in attempts[-1]:
        _append(place, {"attempt": attempts[-1]["attempt"], **record})


def _append(place: Path, record: dict[str, Any]) -> None:
    # One short line in append mode: whole even if the process is killed right after, or another one writes, too.
    with (place / ATTEMPTS).open("ab+") as file:
        file.seek(0)
        content = file.read()
        if not content.endswith(b"\n"):  # what a loss of power left of the line before it goes
            file.truncate(content.rfind(b"\n") + 1)
        file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _last_sign_of_life(place: Path) -> float:
    """When a killed attempt last wrote something (seconds since 1970): the hours in the queue after it cost nothing."""
    return max(file.stat().st_mtime for file in place.rglob("*") if file.is_file() and file.name != LOCK)
