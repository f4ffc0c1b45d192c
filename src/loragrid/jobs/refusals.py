"""Members of batches that cannot be worked on, settled as failed without a worker, and so without torch."""

from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.jobs.adapter import adapter_of, parent_in_words
from loragrid.jobs.attempts import FAILED, Blocked
from loragrid.jobs.failures import record_failure
from loragrid.study.batches import Batch, is_trained, missing_parts
from loragrid.study.grid import Grid
from loragrid.study.members import AnswerMember, CompareMember, Member, TrainMember, has_failed
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
        if has_failed(work) or not missing_parts(answers):
            continue
        if untrained := found.get(answers.subject):
            _record(work, Refusal(f"its training failed: {untrained.reason}", untrained.file))
        elif unasked := unaskable.get(answers.folder):
            _record(work, unasked)


def forget_refusals(batch: Batch[Member]) -> None:
    """Drop the records of refusals that a report, which was made again since, does not repeat.

    Args:
        batch: recorded, of the stage `train`, `log_probabilities` or `generate`.
    """
    for member in batch.members:
        record = member.work / FAILED
        if record.exists() and read_json(record).get("stage") == STAGE and _refused(member) is None:
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
        elif blocked := _blocked(member):
            record_failure(work / FAILED, batch.stage, str(blocked), str(blocked.by), str(blocked.by))


def _refused(member: Member) -> Refusal | None:
    if isinstance(member, TrainMember):
        return refusal_of(member.run, member.preflight_file)
    if isinstance(member, AnswerMember):
        return refusal_to_ask(member.answers.precision, member.preflight_file)
    return None


def _blocked(member: Member) -> Blocked | None:
    """That the run has failed whose adapter the member needs."""
    needed = _needed(member)
    if needed is None or not has_failed(Path(needed[0], "work")):
        return None
    try:
        adapter_of(*needed)
    except Blocked as blocked:
        return blocked
    except UserError:  # the worker tells
        return None
    return None


def _needed(member: Member) -> tuple[str, str, str] | None:
    """Folder, key and name of the run whose adapter the member needs, as `adapter_of` is told of them."""
    if isinstance(member, TrainMember) and member.run.parent and member.parent_key:
        return member.run.parent, member.parent_key, parent_in_words(member.run.parent)
    if isinstance(member, CompareMember) and member.run:
        return member.run.folder, member.run.key, parent_in_words(member.run.folder)
    if isinstance(member, AnswerMember) and member.run:
        return member.run.folder, member.run.key, "its training"
    return None


def _record(work: Path, refusal: Refusal) -> None:
    record_failure(work / FAILED, STAGE, refusal.reason, refusal.file, refusal.file)
