"""Records of what failed for good, which no repetition mends: the next start tells the reason at once."""

from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json, write_json


def record_failure(file: Path, stage: str, reason: str, log: str, blocked_by: str | None = None) -> None:
    """Put a failure on record.

    Args:
        file: the record; deleting it lets the work be tried again.
        stage: what failed.
        reason: for people.
        log: where more stands.
        blocked_by: the record of another failure, which this one is a consequence of; without that it counts no more.
    """
    write_json(file, {"reason": reason, "stage": stage, "log": log, "blocked_by": blocked_by})


def read_failure(file: Path) -> dict[str, Any]:
    """A record of `record_failure`, as its keyword arguments; a damaged one is itself the reason."""
    try:
        record = read_json(file)
        more = {name: record.get(name) for name in ("log", "blocked_by")}
        return {"reason": record["reason"], "stage": record.get("stage") or "work", **more}
    except UserError as error:
        reason = str(error)
    except (AttributeError, KeyError, TypeError):
        reason = f"{file}: damaged record"
    return {"reason": reason, "stage": "work", "log": None, "blocked_by": None}
