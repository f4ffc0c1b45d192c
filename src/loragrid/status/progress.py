"""How far a running attempt is, by the files that it writes."""

import json
import re
import time
from pathlib import Path
from typing import Any

from loragrid.status.activity import ActiveJob
from loragrid.status.tail import last_record

_BEGINNING = re.compile(r"^training from step (\d+) to (\d+)$", re.M)

HEAD = 1 << 16
"""Bytes of a log in which the training says where it begins; libraries may warn of this and that before."""


def training(place: Path, attempt: dict[str, Any], active: ActiveJob) -> str:
    """Step, newest loss and time left of an attempt at training.

    Args:
        place: the run's work folder.
        attempt: its record.
        active: what runs it.
    """
    file = place / "training.jsonl"
    record = last_record(file, "step", "loss")
    span = _BEGINNING.search(_head(Path(str(attempt.get("log")))))
    if span is None:
        return "running, loading"
    first, total = map(int, span.groups())
    step = max(first, record.get("step", 0))
    text = f"running {step}/{total}"
    if record:
        text += f", loss {record['loss']:.3f}"
    if step > first:
        # The model's loading is in it, so that the first minutes promise too little.
        pace = (file.stat().st_mtime - attempt["started"]) / (step - first)
        text += _time_left(pace * (total - step), active)
    return text


def answering(place: Path, prompts: Path, active: ActiveJob) -> str:
    """Answers and time left of an attempt at generating.

    Args:
        place: the work folder of the answers.
        prompts: the file of what is asked.
        active: what runs it.
    """
    if (place / "generations.jsonl").exists():
        return "running, likelihoods"
    if len(compared := _records(place / "choices.jsonl")) > 1:  # the first says whose they are
        return f"running {len(compared) - 1}/{len(_lines(prompts))} questions"
    answers = _records(place / "generations.part.jsonl")
    if not answers:
        return "running, loading"
    total = len(_lines(prompts))
    seconds = [answer.get("seconds") for answer in answers]
    known = [value for value in seconds if isinstance(value, int | float)]
    left = _time_left(sum(known) / len(known) * (total - len(answers)), active) if known else ""
    return f"running {len(answers)}/{total} answers{left}"


def duration(seconds: float) -> str:
    """A time in the units that matter: `40 s`, `12 min`, `2 h 05 min`, `1 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{round(seconds)} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def last_sign_of_life(place: Path, attempt: dict[str, Any]) -> float:
    """When something was last written in a work folder (seconds since 1970)."""
    try:
        return max([attempt["started"], *(file.stat().st_mtime for file in place.iterdir())])
    except OSError:  # a checkpoint goes while we look
        return time.time()


def _time_left(seconds: float, active: ActiveJob) -> str:
    text = f", {duration(seconds)} left"
    if active.seconds_left is not None and active.seconds_left < seconds:
        text += f", its job ends in {duration(active.seconds_left)}"
    return text


def _head(log: Path) -> str:
    try:
        with log.open("rb") as file:
            return file.read(HEAD).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _records(file: Path) -> list[dict[str, Any]]:
    """Whole records; the last one may be half-written."""
    records = []
    for line in _lines(file):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def _lines(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().split(b"\n")[:-1]
    except OSError:
        return []
