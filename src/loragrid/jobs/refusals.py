"""Members of batches that cannot be worked on, settled as failed without a worker, and so without torch."""

from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.jobs.adapter import adapter_of, parent_in_words
from loragrid.jobs.attempts import FAILED, Blocked
from loragrid.jobs.failures import record_failure
from loragrid.study.batches import Batch, has_failed, is_trained, missing_parts, work_folder
from loragrid.study.grid import Grid
from loragrid.study.preflights import Refusal, refusal_of, refusal_to_ask, refusals, refusals_to_ask

STAGE = "preflight"


def settle_refused(grid: Grid) -> None:
    """Put on record why runs of a study cannot be trained, and why they or untrained models cannot be asked anything.

    Args:
        grid: the study.
    """
    found = {folder: refusal for folder, refusal in refusals(grid).items() if not is_trained(grid.runs[folder])}
    for folder, refusal in found.items():
        _record(Path(folder, "work"), refusal)
    unaskable = refusals_to_ask(grid)
    for answers in grid.answers.values():
        work = Path(answers.folder, "work")
        if (work / FAILED).exists() or not missing_parts(answers):
            continue
        if untrained := found.get(answers.subject):
            _record(work, Refusal(f"its training failed: {untrained.reason}", untrained.file))
        elif unasked := unaskable.get(answers.folder):
            _record(work, unasked)


def settle_hopeless(batch: Batch) -> None:
    """Put on record which members of a batch cannot be worked on, since a report refuses them or another run failed.

    Args:
        batch: recorded, of the stage `train`, `log_probabilities` or `generate`.
    """
    for member in batch.members:
        work = work_folder(member)
        if has_failed(work):
            continue
        if refusal := _refused(batch.stage, member):
            _record(work, refusal)
        elif blocked := _blocked(batch.stage, member):
            record_failure(work / FAILED, batch.stage, str(blocked), str(blocked.by), str(blocked.by))


def _refused(stage: str, member: dict[str, Any]) -> Refusal | None:
    if stage == "train":
        return refusal_of(member["run"], member["preflight_file"])
    if stage == "generate":
        return refusal_to_ask(member["answers"]["precision"], member["preflight_file"])
    # What runs are compared with is of use as long as one of them can be trained.
    found = [refusal_of(run, member["preflight_file"]) for run in member["wanted_by"]]
    return found[0] if all(found) else None


def _blocked(stage: str, member: dict[str, Any]) -> Blocked | None:
    """That the run has failed whose adapter the member needs."""
    run = member["run"]
    if stage == "train":
        needed = (run["parent"], member["parent_key"], parent_in_words(run["parent"])) if run["parent"] else None
    else:
        words = "its training" if stage == "generate" else parent_in_words(run["folder"]) if run else ""
        needed = (run["folder"], run["key"], words) if run else None
    if needed is None or not has_failed(Path(needed[0], "work")):
        return None
    try:
        adapter_of(*needed)
    except Blocked as blocked:
        return blocked
    except UserError:  # the worker tells
        return None
    return None


def _record(work: Path, refusal: Refusal) -> None:
    record_failure(work / FAILED, STAGE, refusal.reason, refusal.file, refusal.file)
