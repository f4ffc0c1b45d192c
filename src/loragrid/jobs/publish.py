"""Publish what a member of a batch has finished: from its work folder to where Snakemake expects it."""

import contextlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

from loragrid.errors import UserError
from loragrid.files import remove
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.failures import read_failure
from loragrid.study.members import Member, TrainMember, failure_of, has_failed


def publish(folder: Path, outputs: list[Path]) -> None:
    """Link finished files out of a member's work folder; two processes may do so at the same time.

    Args:
        folder: the run's folder, or that of its answers.
        outputs: the files to publish, below `folder`.

    Raises:
        UserError: the member failed (the message has its reason and log), or has not finished.
    """
    work = folder / "work"
    finished = {out: _in_work(work, folder, out) for out in outputs}
    missing = [str(out) for out, place in finished.items() if not place.exists()]
    if failed := _failure(work, outputs) if missing else None:
        failure = read_failure(failed)
        cause, log = failure["blocked_by"] or failed, f"log: {failure['log']}\n" if failure["log"] else ""
        raise UserError(
            f"{folder}: {failure['stage']} failed: {failure['reason']}\n"
            f"{log}To try again, mend the cause and delete {cause}."
        )
    if missing:
        raise UserError(f"{folder}: not finished ({_last_attempt(work)}); missing: {', '.join(missing)}")
    with FileLock(work / "publish.lock"):
        _link({**_beside(work, finished), **finished})
        # Checkpoints have served; the rest of the work folder costs nothing and says how the result came about.
        if (folder / "run.json") in finished:
            remove(work / "checkpoints")


def publish_finished(member: Member) -> None:
    """Publish what a member has finished, as soon as it is there: others of its job may still take hours.

    The workflow's rule finds it done, or does it again: what cannot be published here is for that to tell.

    Args:
        member: of a batch.
    """
    folder = Path(member.folder)
    if isinstance(member, TrainMember) and not member.finished(f"{folder}/run.json").exists():
        return  # a run is there as a whole or not at all
    files = [Path(file) for file in member.published]
    made = [file for file in files if not file.exists() and _in_work(member.work, folder, file).exists()]
    if made:
        with contextlib.suppress(OSError, UserError):
            publish(folder, made)


def _beside(work: Path, finished: dict[Path, Path]) -> dict[Path, Path]:
    """What comes with finished files, but is nothing that other stages read, so that the workflow does not know it.

    It is what a training took, step by step, and what lies beside its adapter: model card and, with an end token,
    tokenizer.
    """
    usage = {out.parent / "usage.jsonl": work / "usage.jsonl" for out in finished if out.name == "training.jsonl"}
    folders = {out.parent: place.parent for out, place in finished.items() if place.parent == work / "adapter"}
    others = {out / file.name: file for out, place in folders.items() for file in place.iterdir() if file.is_file()}
    return {out: file for out, file in (usage | others).items() if file.is_file()}


def _failure(work: Path, outputs: list[Path]) -> Path | None:
    """The record of why one of the files, or all that the member makes, cannot be made."""
    own = [file for out in outputs if (file := failure_of(work, out)).exists()]
    return own[0] if own else work / "failed.json" if has_failed(work) else None


def _link(finished: dict[Path, Path]) -> None:
    # run.json says that a run is there, so it comes last.
    for out, place in sorted(finished.items(), key=lambda item: item[0].name == "run.json"):
        if out.exists() and out.samefile(place):
            continue  # renaming a link over another one of the same file would leave both
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.publishing")
        temporary.unlink(missing_ok=True)
        try:
            os.link(place, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(place, temporary)
        temporary.replace(out)


def _last_attempt(work: Path) -> str:
    attempts = read_attempts(work)
    if not attempts:
        return "never tried"
    last = attempts[-1]
    why = f": {last['why']}" if last.get("why") else ""
    return f"its last attempt: {last.get('ended', 'killed, or still running')}{why}, log {last['log']}"


def _in_work(work: Path, folder: Path, out: Path) -> Path:
    """Where a product lies in the work folder: below it as below the member's folder, or directly in it."""
    below = work / out.relative_to(folder)
    return below if below.exists() else work / out.name
