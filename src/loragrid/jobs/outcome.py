"""What a work folder tells of attempts that have made no result, for tables and status alike."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.jobs.attempts import ATTEMPTS, FAILED, read_attempts
from loragrid.study.members import has_failed

State = Literal["untried", "begun", "ended", "failed", "damaged"]


@dataclass(frozen=True)
class Outcome:
    """How the work on a member stands.

    Args:
        state: `untried`; `begun`, its last attempt has not ended; `ended`, it has, and the next one goes on; `failed`;
            `damaged`, its records cannot be read.
        reason: why it failed, or what is damaged.
        stage: that failed, where the record says so.
        log: where more stands.
        attempts: how many there were.
        last: the record of the last one, where that has begun or ended.
        record: the file that keeps it from being tried again.
        blocked_by: the record of another failure that this one follows from.
    """

    state: State
    reason: str = ""
    stage: str | None = None
    log: Path | None = None
    attempts: int = 0
    last: Mapping[str, Any] = field(default_factory=dict)
    record: Path | None = None
    blocked_by: Path | None = None


def outcome_of(work: Path) -> Outcome:
    """How the work on a member stands.

    Args:
        work: its work folder.
    """
    try:
        if has_failed(work):
            return failure_in(work / FAILED)
        attempts = read_attempts(work)
        if not attempts:
            return Outcome("untried")
        last = attempts[-1]
        if "ended" not in last:
            return Outcome("begun", attempts=len(attempts), last=last)
        if last["ended"] != "failed":
            return Outcome("ended", str(last.get("why") or ""), attempts=len(attempts), last=last)
        reason = str(last.get("why") or "no reason on record")
        log = Path(last["log"]) if last.get("log") else None
        return Outcome("failed", reason, log=log, attempts=len(attempts), last=last)
    except UserError as error:
        return Outcome("damaged", str(error))
    except (AttributeError, KeyError, TypeError, ValueError, OSError):
        file = work / FAILED
        return Outcome("damaged", f"{file if file.exists() else work / ATTEMPTS}: damaged record")


def failure_in(file: Path) -> Outcome:
    """What the record of a failure says.

    Args:
        file: failed.json of a member, or of one of the files that it makes.
    """
    try:
        record = read_json(file)
        log, blocked_by = (Path(record[name]) if record.get(name) else None for name in ("log", "blocked_by"))
        number = len(_attempts(file.parent))
        reason = str(record.get("reason"))
        return Outcome("failed", reason, record.get("stage"), log, number, record=file, blocked_by=blocked_by)
    except UserError as error:
        return Outcome("damaged", str(error), record=file)
    except (AttributeError, KeyError, TypeError):
        return Outcome("damaged", f"{file}: damaged record", record=file)


def _attempts(work: Path) -> list[dict[str, Any]]:
    """The attempts on record, none if they cannot be read: a failure says enough without them."""
    try:
        return read_attempts(work)
    except (UserError, KeyError, TypeError, AttributeError):
        return []
