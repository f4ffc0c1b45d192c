"""What there is of a study: one row per subject and evaluation, whether it is done or not, and why not."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loragrid.comparing.data import data_failure
from loragrid.comparing.utterances import AtUtterances, by_utterances
from loragrid.errors import UserError
from loragrid.files import canonical, read_json
from loragrid.jobs.attempts import read_attempts
from loragrid.jobs.outcome import Outcome, failure_in, outcome_of
from loragrid.metrics import METRICS, Column, columns_of
from loragrid.scoring.file import ScoreFile, read_score
from loragrid.study.grid import Answers, Grid, Run, Untrained
from loragrid.study.members import failure_of

Status = Literal["done", "missing", "failed"]

_NUMBERS = {
    "loss": ("train", "validation", "best_validation"),
    "parameters": ("trainable",),
    "cost": ("seconds", "tokens", "peak_memory_bytes", "attempts"),
}
"""What the tables need of run.json."""


@dataclass(frozen=True)
class Score:
    """One metric of one row.

    Args:
        value: as in the score file.
        sums: statistics summed by dialogue, shape (dialogues, statistics); no statistics for a value of the whole
            sample.
        dialogues: names of the rows of `sums`, sorted.
        items: digest of the scored ids; two scores can be paired if it is equal.
        count: number of scored answers.
        way: how it was made: tokenizer, signature, encoder; two scores can be compared if it is equal.
    """

    value: float
    sums: np.ndarray
    dialogues: tuple[str, ...]
    items: str
    count: int
    way: str = "{}"

    @cached_property
    def digest(self) -> str:
        """Of all that comparisons of this score follow from."""
        about = canonical([self.items, self.dialogues, self.sums.shape])
        return hashlib.sha256(about.encode() + self.sums.tobytes()).hexdigest()


@dataclass
class Row:
    """One subject under one evaluation.

    Args:
        subject: the run or untrained model.
        answers: what it is asked.
        status: whether all of its scores are there.
        reason: why not, in plain words; empty if they are.
        trained: run.json; empty for an untrained model and for a run that is not trained.
        generated: generation.json; empty if there is none.
        attempts: attempts at training that are on record.
        scores: by column.
        excluded: answers that a score left out, e.g. because the model's context is too short.
        fewer_examples: questions that were asked with fewer examples than wanted; None where none are wanted.
        by_utterances: what is known of its prompts by their number of utterances, if likelihoods are scored.
    """

    subject: Run | Untrained
    answers: Answers
    status: Status = "done"
    reason: str = ""
    trained: dict[str, Any] = field(default_factory=dict)
    generated: dict[str, Any] = field(default_factory=dict)
    attempts: int | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    excluded: int = 0
    fewer_examples: int | None = None
    by_utterances: list[AtUtterances] = field(default_factory=list)

    @property
    def run(self) -> Run | None:
        """The run; None for an untrained model."""
        return self.subject if isinstance(self.subject, Run) else None

    @property
    def validation_loss(self) -> float | None:
        """Validation loss of the adapter that was published: that of the last step, or the lowest."""
        if self.run is None or not self.trained:
            return None
        loss = self.trained["loss"]
        return loss["best_validation" if self.run.recipe.keep == "best" else "validation"]


@dataclass
class Results:
    """A study and everything that is known of it, untrained models first, then runs in the grid's order."""

    grid: Grid
    rows: list[Row]

    def model(self, row: Row) -> str:
        """Name of the row's base model in the study."""
        return self.grid.models[row.answers.model].label

    def dataset(self, row: Row) -> str:
        """Name of the dataset that the run was trained on; of an untrained model, that it is asked about."""
        return row.run.dataset if row.run else row.answers.dataset

    @cached_property
    def columns(self) -> dict[str, Column]:
        """The columns of all scores that the study asks for, by name, in the order of the metrics."""
        # Evaluations may have other columns of one metric, such as the categories of their questions.
        asked = {
            (score["label"] or score["name"], score["key"]): score
            for answers in self.grid.answers.values()
            for score in answers.scores.values()
        }
        order = list(METRICS)
        scores = sorted(asked.values(), key=lambda score: (order.index(score["name"]), score["label"] or ""))
        return {column.name: column for score in scores for column in columns_of(score).values()}

    def columns_in(self, evaluation: str) -> frozenset[str]:
        """Names of the columns that an evaluation has values in."""
        return self._columns_by_evaluation.get(evaluation, frozenset())

    @cached_property
    def _columns_by_evaluation(self) -> dict[str, frozenset[str]]:
        # Answers of one evaluation are scored alike.
        one = {answers.evaluation: answers for answers in self.grid.answers.values()}
        return {
            name: frozenset(column.name for score in answers.scores.values() for column in columns_of(score).values())
            for name, answers in one.items()
        }

    @cached_property
    def _untrained_rows(self) -> list[Row]:
        return [row for row in self.rows if row.run is None]

    @cached_property
    def _untrained_by_what_they_are_asked(self) -> dict[tuple[Any, ...], Row]:
        rows: dict[tuple[Any, ...], Row] = {}
        for row in self._untrained_rows:
            rows.setdefault(_asked_alike(row.answers), row)
        return rows

    def untrained(self, row: Row) -> Row | None:
        """The row of the same base model at the same precision, untrained, asked the same by the same backend."""
        return self._untrained_by_what_they_are_asked.get(_asked_alike(row.answers))

    @property
    def measures(self) -> dict[str, Column]:
        """Those of the columns whose items can be resampled, by name."""
        return {name: column for name, column in self.columns.items() if column.is_sum}

    @cached_property
    def headline(self) -> Column:
        """The metric that gains and verdicts in the comparison are about: the first that stands for its kind.

        That is bits per byte, which is comparable across tokenizers and needs no decoding, wherever it is asked for.
        """
        directed = [column for column in self.measures.values() if column.higher_is_better is not None]
        columns = directed or list(self.measures.values()) or list(self.columns.values())
        return next((column for column in columns if column.is_brief), columns[0])

    def validated_on(self, row: Row) -> str | None:
        """What a run's validation loss is over: losses over other rows or other tokens cannot be compared."""
        if row.run is None:
            return None
        recipe = row.run.recipe
        how: list[Any] = [recipe.mask, recipe.max_length]
        if row.run.compared_with:
            how += [self.grid.log_probabilities[row.run.compared_with].run, recipe.beta]
        return canonical([self.grid.records_of(row.run.clean, "validation"), *how])

    @cached_property
    def best_runs(self) -> set[str]:
        """Folder of the run with the lowest validation loss of each model × dataset: chosen on validation data.

        The earlier one in the grid where losses are equal; none where the runs were validated on different data.
        """
        best: dict[tuple[str, str], tuple[float, str]] = {}
        over: dict[tuple[str, str], set[str | None]] = {}
        for row in self.rows:
            if row.run is None:
                continue
            key = self.model(row), self.dataset(row)
            over.setdefault(key, set()).add(self.validated_on(row))
            loss = row.validation_loss
            if loss is not None and (key not in best or loss < best[key][0]):
                best[key] = loss, row.run.folder
        return {folder for key, (_, folder) in best.items() if len(over[key]) == 1}

    def groups(self) -> dict[tuple[str, str], list[Row]]:
        """Rows by model and dataset, as figures are divided; first the untrained models that are asked the same."""
        runs: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            if row.run:
                runs.setdefault((self.model(row), self.dataset(row)), []).append(row)
        asked = {(key, row.answers.prompts) for key, rows in runs.items() for row in rows}
        untrained: dict[tuple[str, str], list[Row]] = {key: [] for key in runs}
        for row in self._untrained_rows:
            model = self.model(row)
            homes = [key for key in runs if key[0] == model and (key, row.answers.prompts) in asked]
            for key in homes or [(model, self.dataset(row))]:
                untrained.setdefault(key, []).append(row)
        return {key: rows + runs.get(key, []) for key, rows in untrained.items()}


def _asked_alike(answers: Answers) -> tuple[Any, ...]:
    """What has to be equal for two subjects to be compared.

    The name of a chat is no part of it, and neither is whether the end of an answer is a token that was trained for
    it: that is learnt in training like the rest. Bits per byte remain fair, since both pay for the same text and for
    saying that it ends there, the one with a token, the other with the words in several.
    """
    chat = {name: value for name, value in answers.chat.items() if name not in ("name", "end_token")}
    how = answers.model, answers.precision, answers.backend
    return *how, answers.evaluation, answers.prompts, canonical(chat)


def collect(grid: Grid) -> Results:
    """Read everything there is of a study.

    Args:
        grid: the study; its paths are relative to the working directory.

    Returns:
        A row for everything that the study asks for. A damaged file makes its row `failed`, and stops nothing.
    """
    reader = _Reader(grid)
    rows = [reader.row(answers) for answers in grid.answers.values()]
    rows.sort(key=lambda row: row.run is not None)  # stable: the grid's order otherwise
    return Results(grid, rows)


class _Reader:
    def __init__(self, grid: Grid):
        self.grid = grid
        # Run folders are read once, whatever the number of evaluations; equal dialogue lists are kept once.
        self._runs: dict[str, tuple[Status, str, dict[str, Any]]] = {}
        self._dialogues: dict[tuple[str, ...], tuple[str, ...]] = {}

    def row(self, answers: Answers) -> Row:
        subject = self.grid.subject(answers.subject)
        row = Row(subject, answers)
        if isinstance(subject, Run):
            if subject.folder not in self._runs:
                self._runs[subject.folder] = _training(subject, self.grid)
            row.status, row.reason, row.trained = self._runs[subject.folder]
            row.attempts = _number_of_attempts(Path(subject.folder))
            if row.status != "done":
                return row
        row.generated = _read_generation(Path(answers.folder))
        self._read_scores(row)
        return row

    def _read_scores(self, row: Row) -> None:
        absent, damaged = [], []
        for id_, score in row.answers.scores.items():
            file = Path(row.answers.score_file(id_))
            if not file.exists():
                absent.append(id_)
                continue
            try:
                found = read_score(file, score)
            except UserError as error:
                damaged.append(str(error))
                continue
            row.scores.update(self._columns(found, score))
            row.excluded = max(row.excluded, len(found.excluded))
            if score["name"] == "likelihood":
                row.by_utterances = by_utterances(found, row.answers)
            row.fewer_examples = found.made.get("counts", {}).get("fewer_examples", row.fewer_examples)
        if damaged:
            row.status, row.reason = "failed", "; ".join(damaged)
        elif absent:
            row.status, row.reason = _unscored(row, absent, self.grid)

    def _columns(self, found: ScoreFile, score: dict[str, Any]) -> dict[str, Score]:
        """The columns of one score file, by the names that tables use."""
        items = sorted(found.items, key=lambda item: item["id"])
        names, position = np.unique(np.array([item["dialogue"] for item in items]), return_inverse=True)
        order = tuple(str(name) for name in names)
        order = self._dialogues.setdefault(order, order)
        digest = hashlib.sha256("\n".join(item["id"] for item in items).encode()).hexdigest()
        scores = {}
        for name, column in columns_of(score).items():
            if (value := found.metrics[name]) is None:
                continue
            statistics = column.statistics(items) if column.statistics else np.zeros((len(items), 0))
            sums = np.zeros((len(order), statistics.shape[1]))
            np.add.at(sums, position, statistics)
            scores[column.name] = Score(value, sums, order, digest, len(items), _way(found))
        return scores


def _way(found: ScoreFile) -> str:
    """How a score was made, as far as values made in another way are other values."""
    apart = {name for name in found.made if name in ("libraries", "counts") or name.endswith("_sha256")}
    return canonical({name: value for name, value in found.made.items() if name not in apart})


def _training(run: Run, grid: Grid) -> tuple[Status, str, dict[str, Any]]:
    """Status, reason and run.json of a run."""
    folder = Path(run.folder)
    file = folder / "run.json"
    if not file.exists():
        status, reason = (
            _unfinished(folder, "train")
            or data_failure(grid, run.model, [run.clean], run.formatted)
            or ("missing", "not trained yet")
        )
        return status, reason, {}
    try:
        trained = read_json(file)
        if trained["key"] != run.key:
            reason = (
                f"made with other settings: {file} has the key {trained['key']!s:.10}, the study needs {run.key:.10}"
            )
            return "missing", reason, {}
        for part, names in _NUMBERS.items():
            for name in names:
                if not isinstance(trained[part][name], int | float | None):
                    raise TypeError(f"{part}.{name} is not a number")
    except UserError as error:
        return "failed", f"{error}; if it is damaged, delete {folder} to train it again", {}
    except (KeyError, TypeError) as error:
        return "failed", f"{file}: damaged ({_what(error)}); delete {folder} to train it again", {}
    return "done", "", trained


def _unscored(row: Row, absent: list[str], grid: Grid) -> tuple[Status, str]:
    """Why score files are absent, of a subject that is trained or needs no training."""
    generations = row.answers.generations
    work = Path(row.answers.folder, "work")
    judgements = row.answers.judgement_files()
    parts = [generations or "", *(judgements[id_] for id_ in absent if id_ in judgements)]
    parts += [row.answers.score_file(id_) for id_ in absent]
    for failed in (failure_of(work, part) for part in parts if part and not Path(part).exists()):
        if failed.exists():
            return "failed", _failure_in_words(failure_in(failed), "score")
    if generations is None or not Path(generations).exists():
        asked = "trained, not asked yet" if row.run else "not asked yet"
        prompts = grid.prompts[row.answers.prompts]
        return (
            _unfinished(Path(row.answers.folder), "generate")
            or data_failure(grid, row.answers.model, [prompts.clean], prompts=prompts.id)
            or ("missing", asked)
        )
    for opponent in dict.fromkeys(row.answers.scores[id_].get("opponent") for id_ in absent):
        if opponent and not Path(opponent, "generations.jsonl").exists():
            found = _why_not_answered(opponent)
            if found is not None and found[0] == "failed":
                return "failed", f"who it is compared with has not answered: {found[1]}"
    return "missing", f"asked, not scored yet: {', '.join(absent)}"


def _why_not_answered(folder: str) -> tuple[Status, str] | None:
    """What a work folder tells of answers that are not there; None if nothing."""
    failed = failure_of(Path(folder, "work"), "generations.jsonl")
    if failed.exists():
        return "failed", _failure_in_words(failure_in(failed), "generate")
    return _unfinished(Path(folder), "generate")


def _failure_in_words(failed: Outcome, stage: str) -> str:
    """What a record of a failure says."""
    if failed.state == "damaged":
        return failed.reason
    return f"failed in {failed.stage or stage}: {failed.reason}{f' (log {failed.log})' if failed.log else ''}"


def _unfinished(folder: Path, stage: str) -> tuple[Status, str] | None:
    """What the work folder tells of attempts that made no result; None if there were none."""
    outcome = outcome_of(folder / "work")
    if outcome.state == "untried":
        return None
    if outcome.state in ("failed", "damaged"):
        return "failed", _failure_in_words(outcome, stage)
    if outcome.state == "begun":
        return "missing", f"attempt {outcome.attempts} has begun and not ended: it is running, or was killed"
    ended = outcome.last["ended"]
    return "missing", {
        "finished": "the last attempt finished, but its result is not published yet",
        "stopped": "the last attempt was stopped by the clock; will be continued",
        "terminated": "the last attempt was terminated; will be continued",
        "out of memory": "the last attempt ran out of the GPU's memory; will be tried again with a smaller micro-batch",
        "out of host memory": "the last attempt ran out of the host's memory; will be tried again with more",
        "out of time": "the last attempt came to its job's time limit; will be continued",
        "killed": f"the last attempt was killed{f' ({outcome.reason})' if outcome.reason else ''}; will be continued",
    }.get(ended, f"the last attempt ended: {ended}")


def _number_of_attempts(folder: Path) -> int | None:
    try:
        return len(read_attempts(folder / "work")) or None
    except (UserError, KeyError, TypeError):
        return None


def _read_generation(folder: Path) -> dict[str, Any]:
    """generation.json, which only the costs need: without it (or with a damaged one) they are blank."""
    try:
        content = read_json(folder / "generation.json")
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _what(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
