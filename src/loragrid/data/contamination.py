"""What training data has in common with what models are asked: the same questions, or runs of the same words.

A question that a model was trained on says nothing about what it has learnt. As in Brown et al. 2020 (appendix C), a
record of an evaluation overlaps with the training data if 13 words in a row occur there; of scripts without spaces
between words, 13 characters. Case, punctuation and line breaks do not matter. Short questions have no 13 words: these
are found where they are asked as a whole. What a system message says is no part of it.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from loragrid.data.cleaned import publish, short, unfinished, write_splits
from loragrid.data.drops import SPLITS, Drops
from loragrid.data.entries import drawn
from loragrid.data.records import ChoiceQuestion, PreferencePair, Record, asked, from_json
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_json
from loragrid.progress import each
from loragrid.words import words

LENGTH = 13
"""Words in a row that are no coincidence."""

EXAMPLES = 3
"""Pairs of records that are shown for each evaluation."""


@dataclass(frozen=True)
class Asked:
    """Records that models are asked about.

    Args:
        clean: folder of their dataset, cleaned.
        split: of it.
        rows: at most this many, the first; None for all.
        name: for people: id of the dataset.
    """

    clean: Path
    split: str
    rows: int | None
    name: str

    def records(self) -> Iterator[Record]:
        """The records, in their order."""
        return map(from_json, islice(read_jsonl(self.clean / f"{self.split}.jsonl"), self.rows))


@dataclass
class Overlap:
    """What an evaluation has in common with the training data.

    Args:
        asked: records of the evaluation.
        same: numbers of those whose question is asked in the training data, too.
        shared: numbers of those that share 13 words in a row with it.
        trained: training records that have any of both.
        examples: the first pairs, each with what they share.
    """

    asked: int = 0
    same: set[int] = field(default_factory=set)
    shared: set[int] = field(default_factory=set)
    trained: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts, for a report."""
        return {
            "asked": self.asked,
            "overlapping": len(self.same | self.shared),
            "same_question": len(self.same),
            "same_words": len(self.shared),
            "training_records": self.trained,
            "examples": self.examples,
        }


class Index:
    """Everything that evaluations ask, so that training records can be looked up in it one after the other.

    Args:
        evaluations: records of each.
    """

    def __init__(self, evaluations: Sequence[Iterable[Record]]):
        self.overlaps = [Overlap() for _ in evaluations]
        self._ids: list[list[str]] = [[] for _ in evaluations]
        self._questions: dict[str, list[tuple[int, int]]] = {}
        self._runs: dict[str, list[tuple[int, int]]] = {}
        for number, records in enumerate(evaluations):
            for place, record in enumerate(records):
                self._ids[number].append(record.id)
                self.overlaps[number].asked += 1
                if question := _question(record):
                    self._questions.setdefault(question, []).append((number, place))
                for text in _said(record):
                    for run in _runs_of_words(text):
                        self._runs.setdefault(run, []).append((number, place))

    def look_up(self, record: Record) -> bool:
        """Count what a training record has in common with any evaluation.

        Args:
            record: of the training data.

        Returns:
            Whether it has anything.
        """
        found: dict[int, tuple[int, str]] = {}
        for question in {_question(record), *_single_questions(record)} - {""}:
            for number, place in self._questions.get(question, ()):
                self.overlaps[number].same.add(place)
                found.setdefault(number, (place, question))
        for text in _said(record):
            for run in _runs_of_words(text):
                for number, place in self._runs.get(run, ()):
                    self.overlaps[number].shared.add(place)
                    found.setdefault(number, (place, run))
        for number, (place, shared) in found.items():
            overlap = self.overlaps[number]
            overlap.trained += 1
            if len(overlap.examples) < EXAMPLES:
                pair = {"asked": self._ids[number][place], "trained": record.id, "shared": shared[:200]}
                overlap.examples.append(pair)
        return bool(found)


def check_contamination(trained: Path, evaluations: Sequence[Asked], out: Path, *, key: str) -> None:
    """Write what the records of a dataset that are trained on have in common with each evaluation.

    Args:
        trained: folder of the cleaned dataset.
        evaluations: what is asked.
        out: the report.
        key: of the report, recorded.
    """
    index = Index([evaluation.records() for evaluation in evaluations])
    number = 0
    for line in each(read_jsonl(trained / "train.jsonl"), "looking for what is asked"):
        number += 1
        index.look_up(from_json(line))
    write_json(
        out,
        {
            "key": key,
            "trained": trained.name,
            "training_records": number,
            "length": LENGTH,
            "evaluations": [
                {
                    "clean": evaluation.name,
                    "split": evaluation.split,
                    "rows": evaluation.rows,
                    **overlap.summary(),
                }
                for evaluation, overlap in zip(evaluations, index.overlaps, strict=True)
            ],
        },
    )


def decontaminate(
    base: Path,
    evaluations: Sequence[Asked],
    out: Path,
    *,
    rows: Mapping[str, int],
    seed: int,
    needs: Sequence[str] = SPLITS,
) -> None:
    """Write a cleaned dataset again, without the training records that overlap with an evaluation.

    Args:
        base: folder of the cleaned dataset, with all of its training records.
        evaluations: what is asked.
        out: folder for the new one; what an earlier one left there is replaced.
        rows: how many of the training records left are kept, as `train`.
        seed: decides which.
        needs: splits that must not be empty.

    Raises:
        UserError: no training record is left.
    """
    index = Index([evaluation.records() for evaluation in evaluations])
    drops = Drops()
    order: dict[int, bytes] = {}
    for number, line in enumerate(each(read_jsonl(base / "train.jsonl"), "looking for what is asked")):
        drops.read("train")
        record = from_json(line)
        if index.look_up(record):
            drops.add("also in an evaluation", where=record.id, split="train")
        else:
            order[number] = drawn(seed, "rows", record.id)
    if not order and "train" in needs:
        raise UserError(
            f"{base.name}: each of its {drops.rows_read['train']} training records overlaps with an evaluation of the "
            "study; ask about other data, or leave `contamination: remove` away"
        )
    kept = set(sorted(order, key=order.__getitem__)[: rows.get("train")])
    records: dict[str, Iterable[dict[str, Any]]] = {
        split: read_jsonl(base / f"{split}.jsonl") for split in ("validation", "test")
    }
    records["train"] = (line for number, line in enumerate(read_jsonl(base / "train.jsonl")) if number in kept)
    facets = list(json.loads((base / "statistics.json").read_text(encoding="utf-8"))["train"].get("meta", {}))
    with unfinished(out) as work:
        kept_of = write_splits(work, records, facets)
        publish(
            work,
            out,
            {
                "base": base.name,
                "length": LENGTH,
                "evaluations": [
                    {"clean": evaluation.name, "split": evaluation.split, "rows": evaluation.rows, **overlap.summary()}
                    for evaluation, overlap in zip(evaluations, index.overlaps, strict=True)
                ],
                "rows": dict(rows),
                "seed": seed,
                "kept": kept_of,
                "short": short(rows, {"train": len(order)}),
                "dropped": drops.summary(),
            },
        )


def _question(record: Record) -> str:
    """All that is asked, as words; empty if it has none."""
    if isinstance(record, ChoiceQuestion):
        return " ".join(words(record.question))
    return "\n".join(" ".join(words(text)) for text in asked(record)).strip("\n")


def _single_questions(record: Record) -> Iterator[str]:
    """Every question of a record that may be asked alone elsewhere."""
    if not isinstance(record, ChoiceQuestion):
        yield from (" ".join(words(text)) for text in asked(record))


def _said(record: Record) -> Iterator[str]:
    """Questions and answers: all but the system message."""
    if isinstance(record, ChoiceQuestion):
        yield from (record.question, *record.choices)
        return
    yield from (message["content"] for message in record.messages if message["role"] != "system")
    yield from (record.chosen, record.rejected) if isinstance(record, PreferencePair) else record.summaries


def _runs_of_words(text: str) -> Iterator[str]:
    found = words(text)
    for start in range(len(found) - LENGTH + 1):
        yield " ".join(found[start : start + LENGTH])
