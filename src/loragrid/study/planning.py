"""What is missing of a grid, in batches: which job makes what, and after which others."""

import itertools
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from loragrid.errors import UserError
from loragrid.study.batches import (
    Batch,
    is_trained,
    missing_judgements,
    missing_parts,
    open_batch,
    open_ids,
    read_batch,
)
from loragrid.study.grid import Answers, Grid, LogProbabilities, Run
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
    has_failed,
    made_file,
)
from loragrid.study.preflights import preflight_of_answers, refusals, refusals_to_ask
from loragrid.study.shape import Shape

M = TypeVar("M", bound=Member)


@dataclass(frozen=True)
class Plan:
    """The batches of a grid: what is missing, and which batch makes it. What is in none cannot be made."""

    train: dict[str, Batch[TrainMember]]
    log_probabilities: dict[str, Batch[CompareMember]]
    generate: dict[str, Batch[AnswerMember]]
    judge: dict[str, Batch[ScoreMember]]
    score: dict[str, Batch[ScoreMember]]
    score_by_encoder: dict[str, Batch[ScoreMember]]

    def by_run(self) -> dict[str, Batch]:
        """The train batch of each run that is still to be trained, by the run's folder."""
        return {member.folder: batch for batch in self.train.values() for member in _to_make(batch)}

    def by_answers(self) -> dict[str, Batch]:
        """The generate batch of each set of answers of which something is still to be made, by its folder."""
        return {member.folder: batch for batch in self.generate.values() for member in _to_make(batch)}

    @property
    def by_vllm(self) -> bool:
        """Whether vLLM is to answer anything."""
        return any(member.answers.backend == "vllm" for batch in self.generate.values() for member in batch.members)

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
        return {file: batch for batch in batches for member in _to_make(batch) for file in member.products}

    def record(self, submitted: Collection[tuple[str, str]], living: Mapping[Stage, Collection[str]]) -> None:
        """Write the files that jobs read; called by the main process, and not in a dry run.

        Of these only, so that a start that submits nothing shapes no job for later ones. Recorded batches go whose
        members are all in others that this start submits.

        Args:
            submitted: stage and id of the batches that this start submits.
            living: ids of batches that somebody works on, by stage.
        """
        for stage in get_args(Stage):
            batches: dict[str, Batch[Member]] = getattr(self, stage)
            ours = {id_: batch for id_, batch in batches.items() if (stage, id_) in submitted}
            for id_, batch in ours.items():
                # What somebody works on stays as it is recorded, if it is not damaged.
                damage = _damage(batch.file)
                if damage:
                    _tell(f"{damage} (it is recorded anew now)")
                if id_ not in living.get(stage, ()) or damage:
                    batch.record()
            _drop_superseded(stage, ours, living.get(stage, ()))


def _to_make(batch: Batch[M]) -> Iterable[M]:
    """The members of a batch that are not settled: a batch of an earlier start may have others, too."""
    return (member for member in batch.members if not member.is_settled())


def _damage(file: Path) -> str:
    """Why a recorded batch cannot be read; nothing if it can, or is not there."""
    try:
        open_batch(file)
    except UserError as error:
        return str(error) if file.exists() else ""
    return ""


def _tell(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _drop_superseded(stage: Stage, batches: Mapping[str, Batch[Member]], living: Collection[str]) -> None:
    planned = {file for batch in batches.values() for member in batch.members for file in member.products}
    for id_ in open_ids(stage):
        if id_ in batches or id_ in living:
            continue
        try:
            batch = read_batch(stage, id_)
        except UserError as error:
            _tell(f"{error}. What it was for is planned anew, if it is still to be made; nothing reads this file")
            continue
        # Somebody else's, who has just recorded it, has at least one member that is not planned here.
        left = [file for member in batch.members if not member.is_settled() for file in member.products]
        if left and set(left) <= planned:
            batch.file.unlink(missing_ok=True)


def plan(grid: Grid, shape: Shape | None = None) -> Plan:
    """Group what is missing of a grid into batches.

    What a preflight refuses is in none, nor what needs something that has failed.

    Args:
        grid: the study.
        shape: what jobs are to be like. Default: one for each member, for who wants to know what is missing.
    """
    return _Planner(grid, shape).plan()


def parents_first(grid: Grid) -> Iterable[Run]:
    """The runs of a grid, each after its parent, otherwise in the grid's order."""
    found: dict[str, Run] = {}

    def add(run: Run) -> None:
        if run.parent and run.parent not in found:
            add(grid.runs[run.parent])
        found.setdefault(run.folder, run)

    for run in grid.runs.values():
        add(run)
    return found.values()


@dataclass(frozen=True)
class _Todo:
    """A member to be made.

    Args:
        member: the member.
        group: what members of a job have in common, beside what they wait for.
        needs: files that must be there first.
        after: the `.done` files of batches that come first.
    """

    member: Any
    group: Sequence[Any] = ()
    needs: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


class _Planner:
    def __init__(self, grid: Grid, shape: Shape | None):
        self.grid = grid
        self.shape = shape
        self.refused = refusals(grid)
        self.report_of = {each.formatted: each.file for each in grid.preflights.values() if each.formatted}
        self.done_of: dict[str, str] = {}
        """The `.done` file of the batch that makes a run, log-probabilities, answers or judgements, by folder, id or
        file."""

    def plan(self) -> Plan:
        train: dict[str, Batch[TrainMember]] = {}
        compared: dict[str, Batch[CompareMember]] = {}
        # A child starts from its parent's adapter: parents come first, and share no job with their children.
        for runs in self._generations():
            found = self._comparisons(runs)
            compared |= found
            self.done_of |= {
                each.log_probabilities.id: batch.done for batch in found.values() for each in batch.members
            }
            made = self._form("train", [self._to_train(run) for run in runs])
            train |= made
            self._note(made)
        generate = self._generate()
        self._note(generate)
        judge = self._judge()
        self.done_of |= {
            file: batch.done for batch in judge.values() for member in batch.members for file in member.products
        }
        return Plan(
            train,
            compared,
            generate,
            judge,
            self._score() | self._score_judgements(),
            self._score_by_encoder(),
        )

    def _note(self, batches: Mapping[str, Batch[Any]]) -> None:
        self.done_of |= {member.folder: batch.done for batch in batches.values() for member in batch.members}

    # -- what is missing

    def _generations(self) -> list[list[Run]]:
        """Runs that can be trained and are not yet, those without a parent among them first."""
        generations: list[list[Run]] = []
        depth: dict[str, int] = {}
        failed: set[str] = set()
        for run in parents_first(self.grid):
            folder = run.folder
            if is_trained(run):
                continue
            if folder in self.refused or run.parent in failed or has_failed(Path(folder, "work")):
                failed.add(folder)
                continue
            if Path(folder, "work", "run.json").exists():
                continue
            depth[folder] = depth[run.parent] + 1 if run.parent in depth else 0
            while len(generations) <= depth[folder]:
                generations.append([])
            generations[depth[folder]].append(run)
        return generations

    def _to_train(self, run: Run) -> _Todo:
        grid = self.grid
        compared = grid.log_probabilities[run.compared_with] if run.compared_with else None
        model, report = grid.models[run.model], self.report_of[run.formatted]
        member = TrainMember(
            run,
            model,
            report,
            grid.runs[run.parent].key if run.parent else None,
            Compared(compared.file, compared.key) if compared else None,
        )
        needs = {f"{grid.formatted[run.formatted].folder}/format.json", f"{model.folder}/model.json", report}
        return _Todo(
            member,
            (run.model, run.precision, run.recipe.objective),
            sorted(needs),
            self._after(run.parent, run.compared_with),
        )

    def _comparisons(self, runs: Iterable[Run]) -> dict[str, Batch[CompareMember]]:
        """What the runs that are to be trained are compared with, once for all that are compared with the same."""
        wanted = dict.fromkeys(run.compared_with for run in runs)
        found = [self.grid.log_probabilities[id_] for id_ in wanted if id_ is not None and id_ not in self.done_of]
        return self._form("log_probabilities", [self._to_compare(each) for each in found])

    def _to_compare(self, found: LogProbabilities) -> _Todo:
        grid = self.grid
        run, model = grid.runs[found.run] if found.run else None, grid.models[found.model]
        member = CompareMember(found, model, run)
        needs = [f"{member.formatted}/format.json", f"{model.folder}/model.json", self.report_of[found.formatted]]
        return _Todo(member, (found.model, found.precision), needs, self._after(run.folder if run else None))

    def _generate(self) -> dict[str, Batch[AnswerMember]]:
        grid, todo = self.grid, []
        looked, unaskable = preflight_of_answers(grid), refusals_to_ask(grid)
        for answers in grid.answers.values():
            wanted = missing_parts(answers)
            subject = grid.runs.get(answers.subject)
            if not wanted or answers.folder in unaskable or not self._can_be_asked(subject):
                continue
            report = looked[answers.folder].file
            member = AnswerMember(preflight_file=report, **self._asked(answers, wanted))
            needs = [f"{member.model.folder}/model.json", member.prompts_file]
            # What a run was trained on may be deleted by now.
            rows = f"{grid.formatted[subject.formatted].folder}/format.json" if subject else ""
            if subject is None or not is_trained(subject) or Path(report).exists() or Path(rows).exists():
                needs.append(report)
            group = (answers.model, answers.precision, answers.backend)
            todo.append(_Todo(member, group, needs, self._after(answers.subject)))
        return self._form("generate", todo)

    def _can_be_asked(self, subject: Run | None) -> bool:
        """Whether a run is trained, or will be."""
        if subject is None or is_trained(subject) or subject.folder in self.done_of:
            return True
        return Path(subject.folder, "work", "run.json").exists()

    def _score(self) -> dict[str, Batch[ScoreMember]]:
        todo = []
        for answers in self.grid.answers.values():
            if (wanted := answers.missing("cpu")) and self._are_answered(answers):
                member = ScoreMember(stage="score", **self._asked(answers, wanted))
                todo.append(_Todo(member, (), self._score_needs(answers, wanted), self._after(answers.folder)))
        return self._form("score", todo)

    def _score_by_encoder(self) -> dict[str, Batch[ScoreMember]]:
        """What an encoder says of answers: it is loaded once a job."""
        grid, todo = self.grid, []
        for answers in grid.answers.values():
            by_encoder: dict[str, dict[str, str]] = defaultdict(dict)
            for id_, file in answers.missing("encoder").items():
                by_encoder[answers.scores[id_]["encoded"]["encoder"]][id_] = file
            if not self._are_answered(answers):
                continue
            for encoder, wanted in by_encoder.items():
                references = {id_: grid.references[answers.scores[id_]["encoded"]["references"]] for id_ in wanted}
                member = ScoreMember(
                    stage="score_by_encoder",
                    encoder_folder=grid.encoders[encoder].folder,
                    references={
                        id_: EncodedReferences(each.file, each.key, each.layer) for id_, each in references.items()
                    },
                    **self._asked(answers, wanted),
                )
                needs = [*self._score_needs(answers, wanted), grid.encoders[encoder].manifest]
                needs += sorted({each.file for each in references.values()})
                todo.append(_Todo(member, (encoder,), needs, self._after(answers.folder)))
        return self._form("score_by_encoder", todo)

    def _are_answered(self, answers: Answers) -> bool:
        """Whether there are answers, or will be."""
        return self._is_answered(answers.folder)

    def _is_answered(self, folder: str) -> bool:
        return folder in self.done_of or made_file(folder, "generations.jsonl") is not None

    def _judge(self) -> dict[str, Batch[ScoreMember]]:
        """What judges have still to say of answers."""
        todo = []
        for answers in self.grid.answers.values():
            # Two of which one is better need not be there together with others.
            by_opponent: dict[str | None, dict[str, str]] = defaultdict(dict)
            for id_, file in missing_judgements(answers).items():
                by_opponent[answers.scores[id_]["opponent"]][id_] = file
            for opponent, wanted in by_opponent.items():
                folders = answers.compared(opponent)
                if all(map(self._is_answered, folders)):
                    member = ScoreMember(stage="judge", **self._asked(answers, wanted))
                    judges = tuple(sorted({answers.scores[id_]["options"]["model"] for id_ in wanted}))
                    todo.append(_Todo(member, judges, [member.prompts_file], self._after(*folders)))
        return self._form("judge", todo)

    def _score_judgements(self) -> dict[str, Batch[ScoreMember]]:
        """Scores made of judgements: a judge who does not answer holds up no other score."""
        todo = []
        for answers in self.grid.answers.values():
            judgements = answers.judgement_files()
            for id_, file in answers.missing("judge").items():
                judged = judgements[id_]
                if judged in self.done_of or made_file(answers.folder, f"judgements/{Path(judged).name}"):
                    member = ScoreMember(stage="score", **self._asked(answers, {id_: file}))
                    folders = answers.compared(answers.scores[id_]["opponent"])
                    todo.append(_Todo(member, ("judge",), [member.prompts_file], self._after(judged, *folders)))
        return self._form("score", todo)

    # -- what it needs

    def _after(self, *before: str | None) -> list[str]:
        return sorted({self.done_of[each] for each in before if each in self.done_of})

    def _score_needs(self, answers: Answers, wanted: Iterable[str]) -> list[str]:
        scores = [answers.scores[id_] for id_ in wanted]
        needs = [self.grid.prompts[answers.prompts].file]
        needs += sorted({file for score in scores for file in score["needs"]})
        if any(score["with_prompt"] for score in scores):
            needs.append(f"{self.grid.models[answers.model].folder}/model.json")
        return needs

    def _asked(self, answers: Answers, parts: dict[str, str]) -> dict[str, Any]:
        return {
            "answers": answers,
            "parts": parts,
            "model": self.grid.models[answers.model],
            "prompts_file": self.grid.prompts[answers.prompts].file,
            "run": self.grid.runs.get(answers.subject),
        }

    # -- jobs

    def _form(self, stage: Stage, todo: Iterable[_Todo]) -> dict[str, Batch[Any]]:
        """Put members that are not settled into jobs; those of a job that somebody works on stay in it."""
        left = [each for each in todo if not each.member.is_settled()]
        batches = {batch.id: batch for batch in self._living(stage, left)}
        taken = {file for batch in batches.values() for member in batch.members for file in member.products}
        groups: dict[Any, list[_Todo]] = defaultdict(list)
        for each in left:
            if not set(each.member.products) <= taken:
                groups[self._group(stage, each)].append(each)
        for job in self._divided(stage, [*groups.values()]):
            members = [each.member for each in job]
            needs = dict.fromkeys(itertools.chain(*(each.needs for each in job)))
            batch = _batch(stage, members, list(needs), job[0].after)
            batches[batch.id] = batch
        return batches

    def _living(self, stage: Stage, left: Sequence[_Todo]) -> Iterable[Batch[Any]]:
        wanted = {file for each in left for file in each.member.products}
        for id_ in self.shape.living.get(stage, ()) if self.shape else ():
            try:
                batch = read_batch(stage, id_)
            except UserError:
                continue  # whoever works on it has read it; nobody works on one of its members at the same time
            if wanted & {file for member in batch.members for file in member.products}:
                # What it needs was there when it was submitted, and may be of no concern to this study.
                yield replace(batch, needs=[], after=[])

    def _group(self, stage: Stage, each: _Todo) -> tuple[Any, ...]:
        """What members of a job have in common: nobody waits for a stranger, or goes without for its failure."""
        missing = tuple(sorted(file for file in each.needs if not Path(file).exists()))
        return (each.group, tuple(each.after), missing)

    def _divided(self, stage: Stage, groups: list[list[_Todo]]) -> list[list[_Todo]]:
        if self.shape is None:
            return [[each] for group in groups for each in group]
        jobs = self.shape.divide(stage, [[each.member for each in group] for group in groups])
        flat = iter([each for group in groups for each in group])
        return [[next(flat) for _ in job] for job in jobs]


def _batch(stage: Stage, members: Sequence[M], needs: list[str], after: list[str]) -> Batch[M]:
    # What is hashed says what the batch makes, not how fast: a new micro-batch must not orphan a batch that is done.
    names = sorted(" ".join(member.products) for member in members)
    again = 0
    while True:
        id_ = short(key_of("batch", {"stage": stage, "members": names, "again": again}))
        batch = Batch(stage, id_, members, needs, after)
        # A `.done` whose member has neither a result nor a failure is left over from before somebody deleted it.
        if not Path(batch.done).exists() or batch.is_settled():
            return batch
        again += 1
