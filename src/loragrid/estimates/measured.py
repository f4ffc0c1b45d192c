"""What earlier runs and answers took, against what was estimated for them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.estimates.devices import Device
from loragrid.files import read_json

Which = tuple[str, str]
"""A base model and its precision."""


@dataclass(frozen=True)
class Record:
    """One measurement.

    Args:
        which: base model and precision.
        file: run.json or generation.json.
        work: what its time goes with: the seconds estimated for it, or its tokens where nothing can be estimated.
        memory: the bytes estimated for it on the device whose peak is measured; None where nothing can be estimated.
    """

    which: Which
    file: Path
    work: Callable[[dict[str, Any]], float]
    memory: Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Ratio:
    """Measured over estimated.

    Args:
        seconds: of all records together, so that long ones count more.
        memory: of the worst; None if it was not measured.
    """

    seconds: float
    memory: float | None


def ratios(records: Iterable[Record], device: Device) -> dict[Which, Ratio]:
    """Measured over estimated time and memory of each base model and precision, on one kind of device.

    Args:
        records: what may have been measured.
        device: what was measured on another kind says nothing.
    """
    measured, estimated = defaultdict[Which, float](float), defaultdict[Which, float](float)
    worst: dict[Which, float] = {}
    for record in records:
        try:
            found = _read(record.file)
            if not device.is_called(found["device"]):
                continue
            work = record.work(found)
            measured[record.which] += found["seconds"]
        except (UserError, KeyError, TypeError):
            continue  # missing, or of an older version: told where it matters, when the file is used
        estimated[record.which] += work
        memory = record.memory(found)
        if memory and (peak := found["peak_memory_bytes"]):
            worst[record.which] = max(worst.get(record.which, 0), peak / memory)
    return {
        which: Ratio(measured[which] / estimated[which], worst.get(which)) for which in measured if estimated[which]
    }


def _read(file: Path) -> dict[str, Any]:
    """Device, seconds, peak_memory_bytes; `tokens` and `micro_batch` of a run, `rows` of a batch of answers.

    Those of an earlier version say nothing of their batches, which were micro-batches.
    """
    content = read_json(file)
    if file.name == "run.json":
        cost = {name: content["cost"][name] for name in ("seconds", "tokens", "peak_memory_bytes")}
        return {**cost, "micro_batch": content["micro_batch"], "device": content["environment"]["device"]}
    cost = {name: content[name] for name in ("seconds", "answers", "peak_memory_bytes", "device")}
    return {**cost, "rows": content.get("rows_at_a_time")}
