"""The adapter of a run that others go on from, or are compared with."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.jobs.attempts import Blocked


def adapter_of(folder: str, key: str | None = None) -> Path:
    """A run's adapter: published, or still in its work folder where that batch has just ended.

    Args:
        folder: the run's.
        key: that it must have; None where that is not known.

    Raises:
        Blocked: the run failed.
        UserError: the folder holds another run.
    """
    for place in (Path(folder), Path(folder, "work")):
        if (place / "run.json").exists():
            if key is not None and read_json(place / "run.json")["key"] != key:
                raise UserError(f"{place / 'run.json'}: was trained with other settings; delete {place}")
            return place / "adapter"
    failed = Path(folder, "work", "failed.json")
    reason = read_json(failed)["reason"] if failed.exists() else "it is not there"
    raise Blocked(f"its parent run {Path(folder).name} failed: {reason}", by=failed)
