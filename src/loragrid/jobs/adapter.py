"""The adapter of a run, found and checked: whoever uses one, to ask it or to train it on, gets it here."""

from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import read_json, sha256_of
from loragrid.jobs.attempts import FAILED, Blocked
from loragrid.jobs.failures import read_failure

WEIGHTS = "adapter_model.safetensors"
"""The file that holds an adapter's weights."""

CONFIGURATION = "adapter_config.json"
"""The file that says how they are used: rank, scale, layers."""


def adapter_of(folder: str, key: str, what: str) -> Path:
    """The folder of a run's adapter: published, or in the work folder where its training has just ended.

    Args:
        folder: the run's.
        key: the run's.
        what: what the run is to whoever asks, for a message: "its training".

    Raises:
        Blocked: the run failed.
        UserError: there is another run than this one, or its adapter is not the one that was trained.
    """
    for place in (Path(folder), Path(folder, "work")):
        if (place / "run.json").exists():
            return _checked(place, key)
    failed = Path(folder, "work", FAILED)
    reason = read_failure(failed)["reason"] if failed.exists() else "there is no adapter"
    raise Blocked(f"{what} failed: {reason}", by=failed)


def parent_in_words(folder: str) -> str:
    """What `adapter_of` is told of a parent's training."""
    return f"its parent run {Path(folder).name}"


def _checked(place: Path, key: str) -> Path:
    file, adapter = place / "run.json", place / "adapter"
    record = read_json(file)
    again = f"delete {_folder(place)} to train it again"
    if _text(record, "key") != key:
        raise UserError(f"{file}: was trained with other settings than {_folder(place).name}; {again}")
    for name, entry in ((WEIGHTS, "adapter_sha256"), (CONFIGURATION, "adapter_config_sha256")):
        if not (adapter / name).is_file():
            raise UserError(f"{adapter / name}: is gone; {again}")
        known = _text(record, entry)
        if known is None and name == CONFIGURATION:
            continue  # of an earlier version, which did not record it
        if known != sha256_of(adapter / name):
            raise UserError(
                f"{adapter / name}: is not the adapter that was trained here (`{entry}` in {file} is another): put the "
                f"right one back, or {again}"
            )
    return adapter


def _folder(place: Path) -> Path:
    return place.parent if place.name == "work" else place


def _text(record: Any, name: str) -> Any:
    return record.get(name) if isinstance(record, dict) else None
