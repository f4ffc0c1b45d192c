"""Records of what failed for good, which no repetition mends: the next start tells the reason at once."""

from pathlib import Path

from loragrid.files import write_json


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
