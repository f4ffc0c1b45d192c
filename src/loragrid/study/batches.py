"""Batches: the unit of work.

Loading a base model costs minutes, and importing libraries seconds, so several members may share one job. The main
process groups what is missing and records each batch as `results/batches/<stage>-<id>.json`; the job works on the
members and ends with the empty file `<stage>-<id>.done`; a local rule then publishes each member by itself. Members
write into a work folder that Snakemake does not know, so nothing finished is lost when a job is repeated.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loragrid.errors import UserError
from loragrid.files import canonical, read_json, write_json
from loragrid.study.grid import Answers, Grid, LogProbabilities, ModelEntry, Run
from loragrid.study.keys import key_of, short
from loragrid.study.preflights import preflight_of_answers, refusals, refusals_to_ask

BATCHES = Path("results/batches")

Stage = Literal["train", "log_probabilities", "generate", "judge", "score", "score_by_encoder"]

READING = ("judge", "score", "score_by_encoder")
"""The stages that read answers: each with its own jobs, since one needs the internet, and one wants a GPU."""


@dataclass(frozen=True)
class Batch:
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
    members: list[dict[str, Any]]
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

    train: dict[str, Batch]
    log_probabilities: dict[str, Batch]
    generate: dict[str, Batch]
    judge: dict[str, Batch]
    score: dict[str, Batch]
    score_by_encoder: dict[str, Batch]

    def by_run(self) -> dict[str, Batch]:
        """The train batch of each missing run, by the run's folder."""
        return {member["run"]["folder"]: batch for batch in self.train.values() for member in batch.members}

    def by_answers(self) -> dict[str, Batch]:
        """The generate batch of each missing set of answers, by its folder."""
        return {member["answers"]["folder"]: batch for batch in self.generate.values() for member in batch.members}

    def by_judgements(self) -> dict[str, Batch]:
        """The batch that makes each missing file of judgements, by that file."""
        return {
            file: batch
            for batch in self.judge.values()
            for member in batch.members
            for file in member["parts"].values()
        }

    def by_score(self) -> dict[str, Batch]:
        """The batch that makes each missing score, by its file."""
        batches = (*self.generate.values(), *self.score.values(), *self.score_by_encoder.values())
        return {file: batch for batch in batches for member in batch.members for file in member["parts"].values()}

    def record(self) -> None:
        """Write the batch files that jobs read; called by the main process, and not in a dry run."""
        for batch in itertools.chain(*(getattr(self, stage).values() for stage in get_args(Stage))):
            content = asdict(batch)
            if not batch.file.exists() or canonical(read_json(batch.file)) != canonical(content):
                write_json(batch.file, content)


def plan(grid: Grid) -> Plan:
    """Group the missing runs and answers of a grid into batches (of one, for now).

    A run whose chat has `end_token: train` changes its base, which grows by a token, so that it shares a batch with no
    other when batches come to hold several; nor do its answers. What a preflight refuses is in none.
    """
    train = {}
    refused = refusals(grid)
    report_of = {preflight.formatted: preflight.file for preflight in grid.preflights.values() if preflight.formatted}
    for run in grid.runs.values():
        if not is_trained(run) and run.folder not in refused:
            report = report_of[run.formatted]
            member = _train_member(grid, run, report)
            batch = _batch("train", [member], sorted({*_train_needs(grid, [run]), report}), [])
            train[batch.id] = batch
    done_of = {member["run"]["folder"]: batch.done for batch in train.values() for member in batch.members}
    compared = _comparisons(grid, train, done_of, report_of)
    done_of |= {
        member["log_probabilities"]["id"]: batch.done for batch in compared.values() for member in batch.members
    }
    # A child starts from its parent's adapter.
    for id_, batch in list(train.items()):
        before = {member["run"][name] for member in batch.members for name in ("parent", "compared_with")}
        after = sorted({done_of[each] for each in before if each in done_of})
        train[id_] = Batch(batch.stage, batch.id, batch.members, batch.needs, after)
    generate = {}
    looked, unaskable = preflight_of_answers(grid), refusals_to_ask(grid)
    for answers in grid.answers.values():
        wanted = missing_parts(answers)
        subject = grid.runs.get(answers.subject)
        hopeless = subject is not None and answers.subject in refused and not is_trained(subject)
        if wanted and not hopeless and answers.folder not in unaskable:
            report = looked[answers.folder].file
            member = _asked_member("generate", grid, answers, wanted) | {"preflight_file": report}
            after = [done_of[answers.subject]] if answers.subject in done_of else []
            needs = [f"{grid.models[answers.model].folder}/model.json", grid.prompts[answers.prompts].file, report]
            batch = _batch("generate", [member], needs, after)
            generate[batch.id] = batch
    scored = _score_batches(grid) | _judged_batches(grid)
    return Plan(train, compared, generate, _judge_batches(grid), scored, _batches_by_encoder(grid))


def _comparisons(
    grid: Grid, train: Mapping[str, Batch], done_of: Mapping[str, str], report_of: Mapping[str, str]
) -> dict[str, Batch]:
    """What the runs that are to be trained are compared with, once for all that are compared with the same."""
    batches = {}
    runs = [grid.runs[member["run"]["folder"]] for batch in train.values() for member in batch.members]
    wanted_by: dict[str, list[Run]] = defaultdict(list)
    for child in runs:
        if child.compared_with is not None:
            wanted_by[child.compared_with].append(child)
    for id_, children in wanted_by.items():
        if Path((found := grid.log_probabilities[id_]).file).exists():
            continue
        run, report = grid.runs[found.run] if found.run else None, report_of[found.formatted]
        member = {
            "stage": "log_probabilities",
            "log_probabilities": _fields(found),
            "parts": {"log_probabilities": found.file},
            "run": _fields(run) if run else None,
            "model": _fields(grid.models[found.model]),
            "model_folder": grid.models[found.model].folder,
            "formatted_folder": grid.formatted[found.formatted].folder,
            "preflight_file": report,
            "wanted_by": [_fields(child) for child in children],
        }
        needs = [f"{member['formatted_folder']}/format.json", f"{member['model_folder']}/model.json"]
        needs.append(report)
        after = [done_of[run.folder]] if run and run.folder in done_of else []
        batch = _batch("log_probabilities", [member], needs, after)
        batches[batch.id] = batch
    return batches


def _score_batches(grid: Grid) -> dict[str, Batch]:
    batches = {}
    for answers in grid.answers.values():
        if wanted := answers.missing("cpu"):
            batch = _batch(
                "score", [_asked_member("score", grid, answers, wanted)], _score_needs(grid, answers, wanted), []
            )
            batches[batch.id] = batch
    return batches


def _batches_by_encoder(grid: Grid) -> dict[str, Batch]:
    """One job for all that an encoder says of a set of answers: it is loaded once, and waits for these alone."""
    batches = {}
    for answers in grid.answers.values():
        by_encoder: dict[str, dict[str, str]] = defaultdict(dict)
        for id_, file in answers.missing("encoder").items():
            by_encoder[answers.scores[id_]["encoded"]["encoder"]][id_] = file
        for encoder, wanted in by_encoder.items():
            folder = grid.encoders[encoder].folder
            references = {id_: grid.references[answers.scores[id_]["encoded"]["references"]] for id_ in wanted}
            member = _asked_member("score_by_encoder", grid, answers, wanted) | {
                "encoder_folder": folder,
                "references": {
                    id_: {"file": each.file, "key": each.key, "layer": each.layer} for id_, each in references.items()
                },
            }
            needs = [*_score_needs(grid, answers, wanted), grid.encoders[encoder].manifest]
            needs += sorted({each.file for each in references.values()})
            batch = _batch("score_by_encoder", [member], needs, [])
            batches[batch.id] = batch
    return batches


def _judge_batches(grid: Grid) -> dict[str, Batch]:
    """Of each set of answers, what judges have still to say of it."""
    batches = {}
    for answers in grid.answers.values():
        if wanted := missing_judgements(answers):
            batch = _batch("judge", [_asked_member("judge", grid, answers, wanted)], _judged(grid, answers, wanted), [])
            batches[batch.id] = batch
    return batches


def _score_needs(grid: Grid, answers: Answers, wanted: Iterable[str]) -> list[str]:
    scores = [answers.scores[id_] for id_ in wanted]
    needs = [f"{answers.folder}/generations.jsonl", grid.prompts[answers.prompts].file]
    needs += sorted({file for score in scores for file in score["needs"]})
    if any(score["with_prompt"] for score in scores):
        needs.append(f"{grid.models[answers.model].folder}/model.json")
    return needs


def _judged_batches(grid: Grid) -> dict[str, Batch]:
    """Scores made of judgements: each by itself, so that a judge who does not answer holds up no other score."""
    batches = {}
    for answers in grid.answers.values():
        for id_, file in answers.score_files("judge").items():
            if not Path(file).exists():
                needs = [answers.judgement_files()[id_], *_judged(grid, answers, [id_])]
                batch = _batch("score", [_asked_member("score", grid, answers, {id_: file})], needs, [])
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


def read_batch(stage: Stage, id_: str) -> Batch:
    """The batch that the main process recorded; job processes use this and never regroup."""
    return open_batch(BATCHES / f"{stage}-{id_}.json")


def open_batch(file: Path) -> Batch:
    """A recorded batch.

    Raises:
        UserError: the file is missing or was written by another version of loragrid.
    """
    try:
        return Batch(**read_json(file))
    except TypeError as error:
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


def _batch(stage: Stage, members: list[dict], needs: list[str], after: list[str]) -> Batch:
    # What is hashed says what the batch makes, not how fast: a new micro-batch must not orphan a batch that is done.
    names = sorted(" ".join(_products(member)) for member in members)
    again = 0
    while True:
        id_ = short(key_of("batch", {"stage": stage, "members": names, "again": again}))
        batch = Batch(stage, id_, members, needs, after)
        # A `.done` whose member has neither a result nor a failure is left over from before somebody deleted it.
        if not Path(batch.done).exists() or all(is_settled(member) for member in members):
            return batch
        again += 1


def work_folder(member: dict[str, Any]) -> Path:
    """Where a member's checkpoints, logs and unfinished files grow, unknown to Snakemake."""
    if found := member.get("log_probabilities"):
        return Path(LogProbabilities(**found).folder, "work")
    return Path((member.get("answers") or member["run"])["folder"], "work")


def is_settled(member: dict[str, Any]) -> bool:
    """Whether all that a member makes lies finished in its work folder, or its failure does."""
    work = work_folder(member)
    # A failure to answer is none to judge or score answers that are there.
    if member.get("stage") not in READING and has_failed(work):
        return True
    return all((work / Path(file).name).exists() or failure_of(work, file).exists() for file in _products(member))


def failure_of(work: Path, product: str | Path) -> Path:
    """Where it stands that one of the files that a member makes cannot be made, while the others can."""
    return work / f"{Path(product).stem}.failed.json"


def has_failed(work: Path) -> bool:
    """Whether the member failed for good; not if all that stood in its way was a failure that is gone by now."""
    file = work / "failed.json"
    if not file.exists():
        return False
    blocked_by = read_json(file).get("blocked_by")
    return blocked_by is None or Path(blocked_by).exists()


def _products(member: dict[str, Any]) -> list[str]:
    return sorted(member["parts"].values()) if "parts" in member else [f"{member['run']['folder']}/run.json"]


def _train_needs(grid: Grid, runs: Iterable[Run]) -> list[str]:
    return sorted(
        {f"{grid.formatted[run.formatted].folder}/format.json" for run in runs}
        | {f"{grid.models[run.model].folder}/model.json" for run in runs}
    )


def _train_member(grid: Grid, run: Run, report: str) -> dict[str, Any]:
    compared = grid.log_probabilities[run.compared_with] if run.compared_with else None
    return {
        "run": _fields(run),
        "preflight_file": report,
        "parent_key": grid.runs[run.parent].key if run.parent else None,
        "model": _fields(grid.models[run.model]),
        "model_folder": grid.models[run.model].folder,
        "formatted_folder": grid.formatted[run.formatted].folder,
        "compared_with": {"file": compared.file, "key": compared.key} if compared else None,
    }


def _asked_member(stage: Stage, grid: Grid, answers: Answers, parts: dict[str, str]) -> dict[str, Any]:
    run = grid.runs.get(answers.subject)
    return {
        "stage": stage,
        "answers": _fields(answers),
        "parts": parts,
        "run": _fields(run) if run else None,
        "model": _fields(grid.models[answers.model]),
        "model_folder": grid.models[answers.model].folder,
        "prompts_file": grid.prompts[answers.prompts].file,
    }


def _fields(part: Run | Answers | ModelEntry | LogProbabilities) -> dict[str, Any]:
    # dataclasses.asdict copies all values too, which takes half the time of a plan for thousands of runs.
    return dict(vars(part))
