"""Ends of files that grow: the last lines of logs, the last records of JSON Lines."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

END = 1 << 18
"""Bytes that are looked at: enough for some hundred lines, whatever the size of the file."""


def last_lines(file: Path, number: int) -> list[str]:
    """The last lines of a log, as a terminal would show them: of what a progress bar wrote over itself, the last.

    Returns:
        No lines where there is no file.
    """
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _end(file).removesuffix("\n").split("\n")]
    return lines[-number:] if number and lines != [""] else []


def last_record(file: Path, *fields: str) -> dict[str, Any]:
    """The newest record that has a number in each of some fields; empty if there is none. Damaged lines are skipped."""
    for line in reversed(_end(file).split("\n")):
        with suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and all(isinstance(record.get(field), int | float) for field in fields):
                return record
    return {}


def _end(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - END))
            begun_before = opened.tell() > 0
            text = opened.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return text.partition("\n")[2] if begun_before else text
