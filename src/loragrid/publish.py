"""Publish what a member of a batch has finished: from its work folder to where Snakemake expects it."""

import os
import shutil
from pathlib import Path

from loragrid.attempts import read_attempts
from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.batches import has_failed


def publish(folder: Path, outputs: list[Path]) -> None:
    """Link finished files out of a member's work folder.

    Args:
        folder: the run's folder, or that of its answers.
        outputs: the files to publish, below `folder`. run.json comes last where it is among them.

    Raises:
        UserError: the member failed (the message has its reason and log), or has not finished.
    """
    work = folder / "work"
    if has_failed(work):
        failure = read_json(work / "failed.json")
        raise UserError(
            f"{folder}: {failure['stage']} failed: {failure['reason']}\n"
            f"log: {failure['log']}\nTo try again, mend the cause and delete {work / 'failed.json'}."
        )
    finished = {out: _in_work(work, folder, out) for out in outputs}
    if missing := [str(out) for out, place in finished.items() if not place.exists()]:
        attempts = read_attempts(work)
        how = f"its last attempt: {attempts[-1].get('why') or 'killed'}, log {attempts[-1]['log']}" if attempts else "never tried"
        raise UserError(f"{folder}: not finished ({how}); missing: {', '.join(missing)}")
    for out, place in finished.items():
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}.publishing")
        temporary.unlink(missing_ok=True)
        try:
            os.link(place, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(place, temporary)
        temporary.replace(out)
    # Checkpoints have served; the rest of the work folder costs nothing and says how the result came about.
    if (folder / "run.json") in finished:
        shutil.rmtree(work / "checkpoints", ignore_errors=True)


def _in_work(work: Path, folder: Path, out: Path) -> Path:
    """Where a product lies in the work folder: below it as below the member's folder, or directly in it."""
    below = work / out.relative_to(folder)
    return below if below.exists() else work / out.name
