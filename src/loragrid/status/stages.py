"""The stages of each run and each untrained model, one cell each, from what lies in their folders."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.jobs.attempts import ATTEMPTS
from loragrid.jobs.log import error_in
from loragrid.jobs.outcome import Outcome, failure_in, outcome_of
from loragrid.jobs.refusals import STAGE as REFUSED
from loragrid.jobs.tail import last_record
from loragrid.status.activity import ActiveJob, Activity
from loragrid.status.cell import DONE, URGENCY, WAITING, Cell, Failure, failed, together
from loragrid.status.progress import last_sign_of_life, progress
from loragrid.study.batches import (
    BATCHES,
    is_trained,
    missing_judgements,
    missing_parts,
    read_batch,
)
from loragrid.study.grid import Answers, Grid, Run
from loragrid.study.members import Stage, failure_of

LOGS = Path("results/logs")

ENDED = {
    "finished": "ended, and something is still missing",
    "stopped": "stopped{at}, will go on",
    "terminated": "terminated{at}, will go on",
    "out of memory": "out of the GPU's memory, will be tried again",
    "out of host memory": "out of the host's memory, will be tried again",
    "out of time": "out of time, will go on",
    "killed": "killed, will go on",
}
"""What to say of an attempt that ended without a result, by the word on record."""

MADE: dict[Stage, str] = {
    "train": "trained", "log_probabilities": "compared", "generate": "answered",
    "judge": "judged", "score": "scored", "score_by_encoder": "scored",
}  # fmt: skip
"""What a subject is after a stage, whether or not the workflow has published it."""


class Stages:
    """Reads how far the stages are.

    Args:
        grid: the study.
        activity: what is at work now.
    """

    def __init__(self, grid: Grid, activity: Activity):
        self.grid = grid
        self.activity = activity
        self._early = dict(_failed_early())

    def train(self, run: Run) -> Cell:
        """A run's training."""
        if is_trained(run):
            return _published(run)
        products = [f"{run.folder}/run.json"]
        publishing = LOGS / f"publish_run/{Path(run.folder).relative_to('results/runs')}.log"
        cell = self._attempted("train", run.folder, products, publishing)
        return self._compared(run.compared_with) if cell == WAITING and run.compared_with else cell

    def generate(self, answers: dict[str, Answers]) -> Cell | None:
        """What a subject is asked, by evaluation; None if that is nothing."""
        return together({name: self._generate(asked) for name, asked in answers.items()}) if answers else None

    def score(self, answers: dict[str, Answers]) -> Cell | None:
        """The scores of answers that are made from the texts, by evaluation; None if there are none."""
        cells = {name: self._score(asked) for name, asked in answers.items() if asked.generations}
        return together(cells) if cells else None

    def judge(self, answers: dict[str, Answers]) -> Cell | None:
        """What judges say of answers, by evaluation; None if nobody judges them."""
        cells = {name: self._judge(asked) for name, asked in answers.items() if asked.made_with("judge")}
        return together(cells) if cells else None

    def _compared(self, id_: str) -> Cell:
        """What a run by DPO is compared with, as long as its own training has not begun."""
        compared = self.grid.log_probabilities[id_]
        if Path(compared.file).exists():
            return WAITING
        cell = self._attempted("log_probabilities", compared.folder, [compared.file], Path())
        return cell if cell == WAITING else replace(cell, text=f"first its pairs: {cell.text}")

    def _generate(self, answers: Answers) -> Cell:
        missing = missing_parts(answers)
        if not missing:
            return DONE
        place = Path(answers.folder)
        subject = Path(answers.subject).relative_to("results")
        publishing = LOGS / "publish_generations" / subject / f"{place.name}.log"
        if "generations" not in missing:
            publishing = _log_of_score(answers, next(iter(missing.values())))
        if failure := _own_failure(place / "work", missing.values()):
            return failed(_in_words(failure_in(failure), "generate"))
        return self._attempted("generate", answers.folder, list(missing.values()), publishing)

    def _judge(self, answers: Answers) -> Cell:
        missing = list(missing_judgements(answers).values())
        if not missing:
            return DONE
        work = Path(answers.folder, "work")
        # Before failures: one that is on record is tried again now.
        if active := self.activity.of_member("judge", answers.folder):
            return active_cell(active)
        if failure := _own_failure(work, missing):
            return failed(_in_words(failure_in(failure), "judge"))
        if unanswered := _unanswered(answers, "judge"):
            return unanswered
        made = [work / Path(file).name for file in missing]
        if all(file.exists() for file in made):
            return _unpublished("judge", made, _log_of_judgements(answers, missing[0]))
        for opponent in dict.fromkeys(answers.scores[id_]["opponent"] for id_ in missing_judgements(answers)):
            if opponent and (cause := _failure_to_answer(opponent)):
                told = _in_words(cause, "generate")
                return failed(replace(told, reason=f"who it is compared with has not answered: {told.reason}"))
        early = self._early.get(("judge", answers.folder))
        return failed(early) if early else WAITING

    def _score(self, answers: Answers) -> Cell:
        unjudged = missing_judgements(answers)
        judged = {id_: file for id_, file in answers.missing("judge").items() if id_ not in unjudged}
        by_stage: dict[Stage, list[str]] = {
            "score": list((answers.missing("cpu") | judged).values()),
            "score_by_encoder": list(answers.missing("encoder").values()),
        }
        cells = [self._scored(stage, answers, files) for stage, files in by_stage.items() if files]
        if unjudged:
            cells.append(_unanswered(answers, "score") or WAITING)
        # The one that says more.
        return min(cells, key=lambda cell: URGENCY.index(cell.state), default=DONE)

    def _scored(self, stage: Stage, answers: Answers, missing: list[str]) -> Cell:
        """The scores that one stage has still to make."""
        work = Path(answers.folder, "work")
        if failure := _own_failure(work, missing):
            return failed(_in_words(failure_in(failure), "score"))
        if active := self.activity.of_member(stage, answers.folder):
            return active_cell(active)
        if unanswered := _unanswered(answers, "score"):
            return unanswered
        if not Path(answers.folder, "generations.jsonl").exists():
            return WAITING
        made = [work / Path(file).name for file in missing]
        if all(file.exists() for file in made):
            return _unpublished(stage, made, _log_of_score(answers, missing[0]))
        early = self._early.get((stage, answers.folder))
        return failed(early) if early else WAITING

    def _attempted(self, stage: Stage, folder: str, products: list[str], publishing: Path) -> Cell:
        """A stage that is worked on in attempts, as long as its products are not published."""
        place = Path(folder, "work")
        outcome = outcome_of(place)
        if outcome.record:
            return failed(_in_words(outcome, stage))
        made = [place / Path(product).name for product in products]
        if all(file.exists() for file in made):
            return _unpublished(stage, made, publishing)
        if outcome.state == "damaged":
            return failed(_in_words(outcome, stage))
        try:
            return self._last_attempt(stage, folder, outcome)
        except (KeyError, TypeError, ValueError):
            return _damaged(stage, f"{place / ATTEMPTS}: damaged record")

    def _last_attempt(self, stage: Stage, folder: str, outcome: Outcome) -> Cell:
        place = Path(folder, "work")
        last, begun = outcome.last, outcome.state == "begun"
        active = self.activity.of_attempt(dict(last), last_sign_of_life(place, last)) if begun else None
        if active and not active.queued:
            return Cell("running", progress(place, last, active))
        at = f" at step {step}" if (step := last_record(place / "training.jsonl", "step").get("step")) else ""
        if active := active or self.activity.of_member(stage, folder):
            return active_cell(active, f", goes on{at.replace('at', 'from')}" if active.queued and at else "")
        if begun:
            return Cell("interrupted", "killed?")
        if outcome.state == "ended":
            return Cell("interrupted", ENDED.get(last["ended"], f"ended: {last['ended']}").format(at=at))
        if outcome.state == "failed":
            # There is no record that keeps the next start from it.
            again = replace(outcome, reason=f"{outcome.reason} (the next start tries again)")
            return failed(_in_words(again, stage))
        early = self._early.get((stage, folder))
        return failed(early) if early else WAITING


def active_cell(active: ActiveJob, more: str = "") -> Cell:
    """The cell of a job of which nothing is known but that it waits or runs."""
    if active.queued:
        return Cell("queued", f"queued ({active.reason}){more}")
    if active.others:
        return Cell("queued", f"waits for its turn in a running job{more}")
    return Cell("running", "running")


def _published(run: Run) -> Cell:
    file = Path(run.folder, "run.json")
    try:
        key = read_json(file)["key"]
    except (UserError, KeyError, TypeError, OSError):
        return _damaged("train", f"{file}: damaged; delete {run.folder} to train it again")
    if key != run.key:
        return _damaged("train", f"{file}: made with other settings; delete {run.folder} to train it again")
    return DONE


def _damaged(stage: str, reason: str) -> Cell:
    return failed(Failure(stage, reason))


def _own_failure(work: Path, files: Iterable[str]) -> Path | None:
    """The record of why one of a member's files cannot be made."""
    return next((failure for file in files if (failure := failure_of(work, file)).exists()), None)


def _unanswered(answers: Answers, stage: str) -> Cell | None:
    """What becomes of a stage that reads answers which have failed."""
    cause = _failure_to_answer(answers.folder)
    if cause is None:
        return None
    # A report that refuses is the failure of the answers themselves, another's failure is what they and this wait for.
    follows = cause.blocked_by if cause.stage != REFUSED else None
    return failed(Failure(stage, "its answers failed", blocked_by=follows or cause.record))


def _failure_to_answer(folder: str) -> Outcome | None:
    """Why there are no answers, if that is for good."""
    work = Path(folder, "work")
    if Path(folder, "generations.jsonl").exists():
        return None
    if failure := _own_failure(work, ["generations.jsonl"]):
        return failure_in(failure)
    outcome = outcome_of(work)
    return outcome if outcome.record else None


def _log_of_score(answers: Answers, file: str) -> Path:
    """The log of the rule that publishes a score."""
    place = Path(answers.folder)
    subject = Path(answers.subject).relative_to("results")
    return LOGS / "publish_score" / subject / place.name / f"{Path(file).stem}.log"


def _log_of_judgements(answers: Answers, file: str) -> Path:
    """The log of the rule that publishes judgements."""
    place = Path(answers.folder)
    subject = Path(answers.subject).relative_to("results")
    return LOGS / "publish_judgements" / subject / place.name / f"{Path(file).stem}.log"


def _in_words(outcome: Outcome, stage: str) -> Failure:
    """A failure as it is told."""
    number = outcome.attempts or None
    return Failure(outcome.stage or stage, outcome.reason, outcome.log, number, outcome.record, outcome.blocked_by)


def _unpublished(stage: Stage, made: list[Path], publishing: Path) -> Cell:
    if reason := error_in(publishing, since=max(file.stat().st_mtime for file in made)):
        return failed(Failure(f"publishing after {stage}", reason, publishing))
    return Cell("waiting", f"{MADE[stage]}, waits to be published")


def _failed_early() -> Iterator[tuple[tuple[str, str], Failure]]:
    """Members of batches whose job failed, by its log; their attempts tell more where there are any."""
    logs = [(stage, log) for stage in get_args(Stage) for log in sorted(LOGS.glob(f"{stage}/*.log"))]
    for stage, log in logs:
        if (BATCHES / f"{stage}-{log.stem}.done").exists() or not (reason := error_in(log)):
            continue
        with suppress(UserError, KeyError, TypeError, AttributeError):
            for member in read_batch(stage, log.stem).members:
                yield (stage, member.folder), Failure(stage, reason, log)
