"""Members of batches that cannot be worked on, settled as failed without a worker, and so without torch."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.jobs.adapter import adapter_of, parent_in_words
from loragrid.jobs.attempts import FAILED, Blocked
from loragrid.jobs.failures import read_failure, record_failure
from loragrid.study.batches import Batch, is_trained, missing_parts
from loragrid.study.grid import Grid, Run
from loragrid.study.members import AnswerMember, CompareMember, Member, TrainMember, has_failed
from loragrid.study.planning import parents_first
from loragrid.study.preflights import Refusal, refusal_of, refusal_to_ask, refusals, refusals_to_ask

STAGE = "preflight"


def settle_refused(grid: Grid) -> None:
    """Put on record which runs of a study cannot be trained, and which of them or of untrained models cannot be asked.

    Since a preflight refuses it, or since what it goes on from has failed.

    Args:
        grid: the study.
    """
    found = {folder: refusal for folder, refusal in refusals(grid).items() if not is_trained(grid.runs[folder])}
    for folder, refusal in found.items():
        _record(Path(folder, "work"), refusal)
    unaskable = refusals_to_ask(grid)
    for run in parents_first(grid):
        work = Path(run.folder, "work")
        if run.parent and not is_trained(run) and not has_failed(work):
            _settle_blocked(work, "train", _parent(run.parent, grid.runs[run.parent].key))
    for answers in grid.answers.values():
        work = Path(answers.folder, "work")
        if has_failed(work) or not missing_parts(answers):
            continue
        if untrained := found.get(answers.subject):
            _record(work, Refusal(f"its training failed: {untrained.reason}", untrained.file))
        elif unasked := unaskable.get(answers.folder):
            _record(work, unasked)
        elif (subject := grid.runs.get(answers.subject)) and not is_trained(subject):
            _settle_blocked(work, "generate", _own_training(subject))


def forget_refusals(batch: Batch[Member]) -> None:
    """Drop the records of refusals that a report, which was made again since, does not repeat.

    Args:
        batch: recorded, of the stage `train`, `log_probabilities` or `generate`.
    """
    for member in batch.members:
        record = member.work / FAILED
        if record.exists() and read_failure(record)["stage"] == STAGE and _refused(member) is None:
            record.unlink()


def settle_hopeless(batch: Batch[Member]) -> None:
    """Put on record which members of a batch cannot be worked on, since a report refuses them or another run failed.

    Args:
        batch: recorded, of the stage `train`, `log_probabilities` or `generate`.
    """
    for member in batch.members:
        work = member.work
        if has_failed(work):
            continue
        if refusal := _refused(member):
            _record(work, refusal)
        elif needed := _needed(member):
            _settle_blocked(work, batch.stage, needed)


def _refused(member: Member) -> Refusal | None:
    if isinstance(member, TrainMember):
        return refusal_of(member.run, member.preflight_file)
    if isinstance(member, AnswerMember):
        return refusal_to_ask(member.answers, member.preflight_file)
    return None


Needed = tuple[str, str, str]
"""Folder, key and name of the run whose adapter something needs, as `adapter_of` is told of them."""


def _settle_blocked(work: Path, stage: str, needed: Needed) -> None:
    """Put on record that something cannot be made, if the run has failed whose adapter it needs."""
    if not has_failed(Path(needed[0], "work")):
        return
    try:
        adapter_of(*needed)
    except Blocked as blocked:
        record_failure(work / FAILED, stage, str(blocked), str(blocked.by), str(blocked.by))
    except UserError:
        return  # the worker tells


def _needed(member: Member) -> Needed | None:
    if isinstance(member, TrainMember) and member.run.parent and member.parent_key:
        return _parent(member.run.parent, member.parent_key)
    if isinstance(member, CompareMember) and member.run:
        return _parent(member.run.folder, member.run.key)
    if isinstance(member, AnswerMember) and member.run:
        return _own_training(member.run)
    return None


def _parent(folder: str, key: str) -> Needed:
    return folder, key, parent_in_words(folder)


def _own_training(run: Run) -> Needed:
    return run.folder, run.key, "its training"


def _record(work: Path, refusal: Refusal) -> None:
    record_failure(work / FAILED, STAGE, refusal.reason, refusal.file, refusal.file)
