"""Batches: the unit of work.

Loading a base model costs minutes, and importing libraries seconds, so several members may share one job. The main
process groups what is missing and records each batch as `results/batches/<stage>-<id>.json`; the job works on the
members and ends with the empty file `<stage>-<id>.done`; a local rule then publishes each member by itself. Members
write into a work folder that Snakemake does not know, so nothing finished is lost when a job is repeated.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from loragrid.errors import UserError
from loragrid.files import canonical, read_json, write_json
from loragrid.study.grid import Answers, Grid, Run
from loragrid.study.keys import key_of, short
from loragrid.study.members import (
    AnswerMember,
    Compared,
    CompareMember,
    EncodedReferences,
    Member,
    ScoreMember,
    Stage,
    TrainMember,
    member_of,
    plain,
)
from loragrid.study.preflights import Refusal, preflight_of_answers, refusals, refusals_to_ask

BATCHES = Path("results/batches")

M = TypeVar("M", bound=Member, covariant=True)


@dataclass(frozen=True)
class Batch(Generic[M]):
    """What one job works on.

    Args:
        stage: what is done.
        id: hash of the members; in the names of the batch's files.
        members: everything needed to work on each, so that a job reads no study.
        needs: files that must be there first.
        after: the `.done` files of batches that come first.
    """

    stage: Stage
    id: str
    members: Sequence[M]
    needs: list[str]
    after: list[str]

    @property
    def file(self) -> Path:
        """Where the batch is recorded."""
        return BATCHES / f"{self.stage}-{self.id}.json"

    @property
    def done(self) -> str:
        """The file that says that every member finished or failed for good."""
        return str(BATCHES / f"{self.stage}-{self.id}.done")


@dataclass(frozen=True)
class Plan:
    """The batches of a grid: what is missing, and which batch makes it."""

    train: dict[str, Batch[TrainMember]]
    log_probabilities: dict[str, Batch[CompareMember]]
    generate: dict[str, Batch[AnswerMember]]
    judge: dict[str, Batch[ScoreMember]]
    score: dict[str, Batch[ScoreMember]]
    score_by_encoder: dict[str, Batch[ScoreMember]]

    def by_run(self) -> dict[str, Batch]:
        """The train batch of each missing run, by the run's folder."""
        return {member.folder: batch for batch in self.train.values() for member in batch.members}

    def by_answers(self) -> dict[str, Batch]:
        """The generate batch of each missing set of answers, by its folder."""
        return {member.folder: batch for batch in self.generate.values() for member in batch.members}

    def by_judgements(self) -> dict[str, Batch]:
        """The batch that makes each missing file of judgements, by that file."""
        return {file: batch for batch in self.judge.values() for member in batch.members for file in member.products}

    def by_score(self) -> dict[str, Batch]:
        """The batch that makes each missing score, by its file."""
        batches: list[Batch[Member]] = [
            *self.generate.values(),
            *self.score.values(),
            *self.score_by_encoder.values(),
        ]
        return {file: batch for batch in batches for member in batch.members for file in member.products}

    def record(self) -> None:
        """Write the batch files that jobs read; called by the main process, and not in a dry run."""
        for batch in itertools.chain(*(getattr(self, stage).values() for stage in get_args(Stage))):
            content = plain(batch)
            if not batch.file.exists() or canonical(read_json(batch.file)) != canonical(content):
                write_json(batch.file, content)


def plan(grid: Grid) -> Plan:
    """Group the missing runs and answers of a grid into batches (of one, for now).

    A run whose chat has `end_token: train` changes its base, which grows by a token, so that it shares a batch with no
    other when batches come to hold several; nor do its answers. What a preflight refuses is in none.
    """
    train: dict[str, Batch[TrainMember]] = {}
    refused = refusals(grid)
    report_of = {preflight.formatted: preflight.file for preflight in grid.preflights.values() if preflight.formatted}
    for run in grid.runs.values():
        if not is_trained(run) and run.folder not in refused:
            member = _train_member(grid, run, report_of[run.formatted])
            needs = {*_train_needs(grid, run), member.preflight_file}
            batch = _batch("train", [member], sorted(needs), [])
            train[batch.id] = batch
    done_of = {member.folder: batch.done for batch in train.values() for member in batch.members}
    compared = _comparisons(grid, train, done_of, report_of)
    done_of |= {member.log_probabilities.id: batch.done for batch in compared.values() for member in batch.members}
    # A child starts from its parent's adapter.
    for id_, batch in list(train.items()):
        before = {name for member in batch.members for name in (member.run.parent, member.run.compared_with)}
        train[id_] = replace(batch, after=sorted({done_of[each] for each in before if each in done_of}))
    return Plan(
        train,
        compared,
        _generate_batches(grid, refused, done_of),
        _judge_batches(grid),
        _score_batches(grid) | _judged_batches(grid),
        _batches_by_encoder(grid),
    )


def _generate_batches(
    grid: Grid, refused: Mapping[str, Refusal], done_of: Mapping[str, str]
) -> dict[str, Batch[AnswerMember]]:
    batches = {}
    looked, unaskable = preflight_of_answers(grid), refusals_to_ask(grid)
    for answers in grid.answers.values():
        wanted = missing_parts(answers)
        subject = grid.runs.get(answers.subject)
        hopeless = subject is not None and answers.subject in refused and not is_trained(subject)
        if wanted and not hopeless and answers.folder not in unaskable:
            report = looked[answers.folder].file
            member = AnswerMember(preflight_file=report, **_asked(grid, answers, wanted))
            needs = [f"{member.model.folder}/model.json", member.prompts_file]
            # What a run was trained on may be deleted by now.
            rows = f"{grid.formatted[subject.formatted].folder}/format.json" if subject else ""
            if subject is None or not is_trained(subject) or Path(report).exists() or Path(rows).exists():
                needs.append(report)
            batch = _batch(
                "generate", [member], needs, [done_of[answers.subject]] if answers.subject in done_of else []
            )
            batches[batch.id] = batch
    return batches


def _comparisons(
    grid: Grid, train: Mapping[str, Batch[TrainMember]], done_of: Mapping[str, str], report_of: Mapping[str, str]
) -> dict[str, Batch[CompareMember]]:
    """What the runs that are to be trained are compared with, once for all that are compared with the same."""
    batches = {}
    for id_ in dict.fromkeys(member.run.compared_with for batch in train.values() for member in batch.members):
        if id_ is None or Path((found := grid.log_probabilities[id_]).file).exists():
            continue
        run, report = grid.runs[found.run] if found.run else None, report_of[found.formatted]
        member = CompareMember(found, grid.models[found.model], run)
        needs = [f"{member.formatted}/format.json", f"{member.model.folder}/model.json", report]
        after = [done_of[run.folder]] if run and run.folder in done_of else []
        batch = _batch("log_probabilities", [member], needs, after)
        batches[batch.id] = batch
    return batches


def _score_batches(grid: Grid) -> dict[str, Batch[ScoreMember]]:
    batches = {}
    for answers in grid.answers.values():
        if wanted := answers.missing("cpu"):
            member = ScoreMember(stage="score", **_asked(grid, answers, wanted))
            batch = _batch("score", [member], _score_needs(grid, answers, wanted), [])
            batches[batch.id] = batch
    return batches


def _batches_by_encoder(grid: Grid) -> dict[str, Batch[ScoreMember]]:
    """One job for all that an encoder says of a set of answers: it is loaded once, and waits for these alone."""
    batches = {}
    for answers in grid.answers.values():
        by_encoder: dict[str, dict[str, str]] = defaultdict(dict)
        for id_, file in answers.missing("encoder").items():
            by_encoder[answers.scores[id_]["encoded"]["encoder"]][id_] = file
        for encoder, wanted in by_encoder.items():
            folder = grid.encoders[encoder].folder
            references = {id_: grid.references[answers.scores[id_]["encoded"]["references"]] for id_ in wanted}
            member = ScoreMember(
                stage="score_by_encoder",
                encoder_folder=folder,
                references={
                    id_: EncodedReferences(each.file, each.key, each.layer) for id_, each in references.items()
                },
                **_asked(grid, answers, wanted),
            )
            needs = [*_score_needs(grid, answers, wanted), grid.encoders[encoder].manifest]
            needs += sorted({each.file for each in references.values()})
            batch = _batch("score_by_encoder", [member], needs, [])
            batches[batch.id] = batch
    return batches


def _judge_batches(grid: Grid) -> dict[str, Batch[ScoreMember]]:
    """Of each set of answers, what judges have still to say of it."""
    batches = {}
    for answers in grid.answers.values():
        if wanted := missing_judgements(answers):
            member = ScoreMember(stage="judge", **_asked(grid, answers, wanted))
            batch = _batch("judge", [member], _judged(grid, answers, wanted), [])
            batches[batch.id] = batch
    return batches


def _score_needs(grid: Grid, answers: Answers, wanted: Iterable[str]) -> list[str]:
    scores = [answers.scores[id_] for id_ in wanted]
    needs = [f"{answers.folder}/generations.jsonl", grid.prompts[answers.prompts].file]
    needs += sorted({file for score in scores for file in score["needs"]})
    if any(score["with_prompt"] for score in scores):
        needs.append(f"{grid.models[answers.model].folder}/model.json")
    return needs


def _judged_batches(grid: Grid) -> dict[str, Batch[ScoreMember]]:
    """Scores made of judgements: each by itself, so that a judge who does not answer holds up no other score."""
    batches = {}
    for answers in grid.answers.values():
        for id_, file in answers.score_files("judge").items():
            if not Path(file).exists():
                needs = [answers.judgement_files()[id_], *_judged(grid, answers, [id_])]
                member = ScoreMember(stage="score", **_asked(grid, answers, {id_: file}))
                batch = _batch("score", [member], needs, [])
                batches[batch.id] = batch
    return batches


def _judged(grid: Grid, answers: Answers, ids: Iterable[str]) -> list[str]:
    """What scores by judges are about: the answers, those that they are compared with, and the prompts."""
    opponents = {answers.scores[id_]["opponent"] for id_ in ids} - {None}
    folders = sorted({answers.folder, *opponents})
    return [*(f"{folder}/generations.jsonl" for folder in folders), grid.prompts[answers.prompts].file]


def missing_judgements(answers: Answers) -> dict[str, str]:
    """The files of judgements that are still to be made, by score; none for a score that is there without them."""
    return {
        id_: file
        for id_, file in answers.judgement_files().items()
        if not Path(file).exists() and not Path(answers.score_file(id_)).exists()
    }


def read_batch(stage: Stage, id_: str) -> Batch[Any]:
    """The batch that the main process recorded; job processes use this and never regroup."""
    return open_batch(BATCHES / f"{stage}-{id_}.json")


def open_batch(file: Path) -> Batch[Any]:
    """A recorded batch.

    Raises:
        UserError: the file is missing or was written by another version of loragrid.
    """
    content = read_json(file)
    try:
        members = [member_of(content["stage"], each) for each in content["members"]]
        return Batch(**(content | {"members": members}))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: is no batch of this version of loragrid ({error}); start the workflow again"
        ) from None


def is_trained(run: Run) -> bool:
    """Whether a run is published."""
    return Path(run.folder, "run.json").exists()


def missing_parts(answers: Answers) -> dict[str, str]:
    """What the generate job has still to make: file by part (`generations`, or the id of a score)."""
    parts = answers.score_files("model")
    if answers.generations:
        parts["generations"] = answers.generations
    return {part: file for part, file in parts.items() if not Path(file).exists()}


def _batch(stage: Stage, members: Sequence[M], needs: list[str], after: list[str]) -> Batch[M]:
    # What is hashed says what the batch makes, not how fast: a new micro-batch must not orphan a batch that is done.
    names = sorted(" ".join(member.products) for member in members)
    again = 0
    while True:
        id_ = short(key_of("batch", {"stage": stage, "members": names, "again": again}))
        batch = Batch(stage, id_, members, needs, after)
        # A `.done` whose member has neither a result nor a failure is left over from before somebody deleted it.
        if not Path(batch.done).exists() or all(member.is_settled() for member in members):
            return batch
        again += 1


def _train_needs(grid: Grid, run: Run) -> list[str]:
    return [f"{grid.formatted[run.formatted].folder}/format.json", f"{grid.models[run.model].folder}/model.json"]


def _train_member(grid: Grid, run: Run, report: str) -> TrainMember:
    compared = grid.log_probabilities[run.compared_with] if run.compared_with else None
    return TrainMember(
        run,
        grid.models[run.model],
        report,
        grid.runs[run.parent].key if run.parent else None,
        Compared(compared.file, compared.key) if compared else None,
    )


def _asked(grid: Grid, answers: Answers, parts: dict[str, str]) -> dict[str, Any]:
    return {
        "answers": answers,
        "parts": parts,
        "model": grid.models[answers.model],
        "prompts_file": grid.prompts[answers.prompts].file,
        "run": grid.runs.get(answers.subject),
    }
