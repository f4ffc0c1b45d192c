"""Batches that somebody works on: in Slurm's queue, or a process on this machine."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import get_args

import psutil

from loragrid.errors import UserError
from loragrid.jobs import slurm
from loragrid.study.batches import open_ids, read_batch
from loragrid.study.members import Stage

_STAGE = "|".join(get_args(Stage))
_NAME = re.compile(rf"(?:rule_(?P<rule>{_STAGE})_wildcards_|loragrid-(?P<name>{_STAGE})-)(?P<id>[0-9a-f]+)")
_FILE = re.compile(rf"(?P<stage>{_STAGE})-(?P<id>[0-9a-f]+)\.json")
_DONE = re.compile(rf"(?P<stage>{_STAGE})-(?P<id>[0-9a-f]+)\.done")


def living_batches() -> dict[Stage, set[str]]:
    """Ids of batches that are recorded and not done, and whose job waits or runs.

    Where there is a queue that does not answer, these are all that could have been submitted: what they need is there.
    """
    recorded: dict[Stage, set[str]] = {stage: set(open_ids(stage)) for stage in get_args(Stage)}
    if not any(recorded.values()):
        return recorded  # nobody need be asked
    queue = slurm.jobs() if has_queue() else []
    if queue is None:
        return {stage: {id_ for id_ in ids if _could_be_submitted(stage, id_)} for stage, ids in recorded.items()}
    here = Path.cwd()
    named = [batch_named(job.comment) for job in queue if Path(job.folder).resolve() == here]
    found = {each for each in named if each} | set(batches_in(commands_here())) | set(_submitted_here())
    return {stage: {id_ for id_ in ids if (stage, id_) in found} for stage, ids in recorded.items()}


def _could_be_submitted(stage: Stage, id_: str) -> bool:
    try:
        batch = read_batch(stage, id_)
    except UserError:
        return False
    return all(Path(file).exists() for file in (*batch.needs, *batch.after))


def _submitted_here() -> Iterator[tuple[str, str]]:
    """Stage and id of each batch whose job on this machine lives: it may not have come so far as to call `loragrid`."""
    for file in Path(".snakemake/submitit").glob("*/job.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            job = json.loads(file.read_text(encoding="utf-8"))
            if job["pid"] is not None and psutil.pid_exists(job["pid"]):
                yield from (
                    (found["stage"], found["id"])
                    for out in job["outputs"]
                    if (found := _DONE.fullmatch(Path(out).name))
                )


def batch_named(comment: str) -> tuple[str, str] | None:
    """Stage and id of the batch that a job works on, by its comment, as the Slurm executor and our own write it."""
    found = _NAME.fullmatch(comment.partition(" of Snakemake in ")[0])
    return (found["rule"] or found["name"], found["id"]) if found else None


def batches_in(commands: Iterable[list[str]]) -> Iterator[tuple[str, str]]:
    """Stage and id of each batch that is worked on.

    Args:
        commands: arguments of processes of `loragrid`.
    """
    for command in commands:
        # `worker train FILE` too: whoever started it may be gone.
        for argument in command[1:3] if command[0] in (*get_args(Stage), "worker") else ():
            if found := _FILE.fullmatch(Path(argument).name):
                yield found["stage"], found["id"]


def has_queue() -> bool:
    """Whether this machine has Slurm's commands."""
    return shutil.which("squeue") is not None


def commands_here() -> Iterator[list[str]]:
    """Arguments of each `loragrid` that runs on this machine, in this folder."""
    here = str(Path.cwd())
    for process in psutil.process_iter(["cmdline"]):
        arguments = _arguments(process.info["cmdline"] or [])
        if not arguments:
            continue
        with suppress(psutil.Error):
            if process.cwd() == here and process.status() != psutil.STATUS_ZOMBIE:
                yield arguments


def _arguments(line: list[str]) -> list[str]:
    """What follows `python -m loragrid`, or the script of that name, in a command line."""
    for position, word in enumerate(line[:4]):
        if Path(word).name == "loragrid" and (position == 0 or line[position - 1] == "-m" or "/" in word):
            return line[position + 1 :]
    return []
