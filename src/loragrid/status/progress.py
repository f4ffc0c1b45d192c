"""How far a running attempt is, in words."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loragrid.jobs.standing import standing_of
from loragrid.status.activity import ActiveJob


def progress(place: Path, attempt: Mapping[str, Any], active: ActiveJob) -> str:
    """How much of it an attempt has done, its newest loss, and the time left.

    Args:
        place: the member's work folder.
        attempt: its record.
        active: what runs it.
    """
    standing = standing_of(place, attempt["started"])
    if standing is None:
        return "running, loading"
    unit = "" if standing.what == "steps" else f" {standing.what}"
    text = f"running {standing.done}/{standing.total}{unit}"
    if standing.loss is not None:
        text += f", loss {standing.loss:.3f}"
    if (seconds := standing.seconds_left) is not None:
        text += f", {duration(seconds)} left"
        if active.seconds_left is not None and active.seconds_left < seconds:
            text += f", its job ends in {duration(active.seconds_left)}"
    return text


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


def last_sign_of_life(place: Path, attempt: Mapping[str, Any]) -> float:
    """When something was last written in a work folder (seconds since 1970)."""
    try:
        return max([attempt["started"], *(file.stat().st_mtime for file in place.iterdir())])
    except OSError:  # a checkpoint goes while we look
        return time.time()
