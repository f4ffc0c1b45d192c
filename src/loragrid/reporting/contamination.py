"""What runs were asked that they had seen in training, from the reports in results/contamination."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from loragrid.comparing.collect import Results, Row
from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.reporting.columns import Column, Table
from loragrid.study.grid import Run

COLUMNS = (
    Column("trained_on", "trained on"),
    Column("data", "data"),
    Column("evaluation", "evaluation"),
    Column("asked_about", "asked about"),
    Column("split", "split"),
    Column("asked", "asked", "count"),
    Column("overlapping", "overlapping", "count"),
    Column("same_question", "same question", "count"),
    Column("same_words", "same words", "count"),
    Column("training_records", "training records", "count"),
)

_COUNTS = [column.key for column in COLUMNS if column.kind == "count"]


@dataclass(frozen=True)
class Overlap:
    """What an evaluation and one dataset that a run, or a parent of it, was trained on have in common.

    Args:
        trained_on: name of the dataset in the study.
        clean: id of the cleaned data.
        evaluation: its name.
        asked_about: id of the cleaned data asked about.
        split: of it.
        asked: records of the evaluation.
        overlapping: those of them that have anything in common with the training data.
        same_question: those whose question is asked there.
        same_words: those that share 13 words in a row with it.
        training_records: training records that have anything in common with the evaluation.
    """

    trained_on: str
    clean: str
    evaluation: str
    asked_about: str
    split: str
    asked: int
    overlapping: int
    same_question: int
    same_words: int
    training_records: int


class Overlaps:
    """The overlaps of a study's rows, as far as the reports are there.

    Args:
        results: the study.
    """

    def __init__(self, results: Results):
        self.grid = results.grid
        self._reports = {report.clean: report.file for report in self.grid.contamination.values()}
        self._read = cache(_evaluations)

    def of(self, row: Row) -> list[Overlap]:
        """What a row's subject was asked and had been trained on; nothing for an untrained model."""
        return list(self._of(row))

    def share(self, row: Row) -> float | None:
        """Share of what is asked that overlaps with training data: the largest, where a run has parents.

        None where nothing is known.
        """
        if row.run is None or self._unknown(row):
            return None
        return max((each.overlapping / each.asked for each in self.of(row) if each.asked), default=None)

    def damaged(self, row: Row) -> list[str]:
        """Reports about a row that are there and cannot be used."""
        files = [self._reports[run.clean] for run in self._lineage(row) if run.clean in self._reports]
        return [file for file in files if Path(file).exists() and self._read(file) is None]

    def _unknown(self, row: Row) -> bool:
        """Whether a report is missing, or damaged: what is known of other data is no answer then."""
        return any(self._read(self._reports.get(run.clean)) is None for run in self._lineage(row))

    def _lineage(self, row: Row) -> Iterator[Run]:
        run = row.run
        while run is not None:
            yield run
            run = self.grid.runs[run.parent] if run.parent else None

    def _of(self, row: Row) -> Iterator[Overlap]:
        prompts = self.grid.prompts[row.answers.prompts]
        for run in self._lineage(row):
            for found in self._read(self._reports.get(run.clean)) or ():
                if (found["clean"], found["split"], found["rows"]) == (prompts.clean, prompts.split, prompts.rows):
                    numbers = {name: found[name] for name in _COUNTS}
                    yield Overlap(
                        run.dataset, run.clean, row.answers.evaluation, prompts.clean, prompts.split, **numbers
                    )


def table(results: Results, overlaps: Overlaps) -> Table:
    """What each evaluation and the data that its runs are trained on have in common, each once."""
    found = dict.fromkeys(each for row in results.rows for each in overlaps.of(row))
    rows = [
        {
            "trained_on": each.trained_on,
            "data": each.clean,
            "evaluation": each.evaluation,
            "asked_about": each.asked_about,
            "split": each.split,
            **{name: getattr(each, name) for name in _COUNTS},
        }
        for each in found
    ]
    return Table(COLUMNS, rows)


def sentences(overlaps: Overlaps, rows: list[Row]) -> list[str]:
    """What is to be said of a group of rows: of each evaluation that has anything in common with training data."""
    said: dict[tuple[str, str], str] = {}
    for each in (each for row in rows for each in overlaps.of(row)):
        if each.overlapping:
            of = f"{each.overlapping} of {each.asked}"
            same = f", {each.same_question} of them as the same question" if each.same_question else ""
            said[each.evaluation, each.clean] = (
                f"Of what {each.evaluation!r} asks, {of} records overlap with the training data {each.trained_on!r}"
                f"{same}: answers to them may be remembered."
            )
    damaged = dict.fromkeys(file for row in rows for file in overlaps.damaged(row))
    told = [f"{file} is damaged: delete it, and the next start of the workflow makes it anew." for file in damaged]
    if not said:
        return told
    return [
        *told,
        *said.values(),
        "results/contamination shows which; `contamination: remove` of a dataset trains without.",
    ]


def _evaluations(file: str | None) -> list[dict[str, Any]] | None:
    """What a report says of each evaluation; None if it is not there, or damaged."""
    if file is None or not Path(file).exists():
        return None
    try:
        names = ("clean", "rows", "split", *_COUNTS)
        return [{name: found[name] for name in names} for found in read_json(Path(file))["evaluations"]]
    except (UserError, KeyError, TypeError):
        return None
