"""What training data has in common with what models are asked: the same questions, or runs of the same words.

A question that a model was trained on says nothing about what it has learnt. As in Brown et al. 2020 (appendix C), a
record of an evaluation overlaps with the training data if 13 words in a row of it, question or answer, occur there; of
scripts without spaces between words, 13 characters. Runs that occur in many training records are phrases of the data,
no trace of a question, and do not count. Width, case, punctuation and line breaks do not matter. Short questions have
no 13 words: these are found where they are asked as a whole. What a system message says is no part of it.
"""

import json
import string
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
from loragrid.words import plain, plain_words

LENGTH = 13
"""Words in a row that are no coincidence."""

COMMON = 10
"""Different training records in which a run of words may occur before it is a phrase."""

EXAMPLES = 3
"""Pairs of records that are shown for each evaluation."""

Place = tuple[int, int]
"""Number of an evaluation, and of a record in it."""


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
        trained: numbers of training records that have any of both.
        examples: the first pairs, each with what they share.
    """

    asked: int = 0
    same: set[int] = field(default_factory=set)
    shared: set[int] = field(default_factory=set)
    trained: set[int] = field(default_factory=set)
    examples: list[dict[str, str]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts, for a report."""
        return {
            "asked": self.asked,
            "overlapping": len(self.same | self.shared),
            "same_question": len(self.same),
            "same_words": len(self.shared),
            "training_records": len(self.trained),
            "examples": self.examples,
        }


@dataclass
class _Run:
    """A run of words that an evaluation has, and the training records where it is found, as long as these are few."""

    places: list[Place] = field(default_factory=list)
    texts: set[int] = field(default_factory=set)
    trained: list[int] = field(default_factory=list)


class Index:
    """Everything that evaluations ask, in which training records are looked up one after the other.

    Args:
        evaluations: records of each.
    """

    def __init__(self, evaluations: Sequence[Iterable[Record]]):
        self._asked: list[list[str]] = [[] for _ in evaluations]
        self._trained: dict[int, str] = {}
        self._number = 0
        self._questions: dict[str, list[Place]] = {}
        self._runs: dict[str, _Run] = {}
        self._same: list[tuple[Place, int, str]] = []
        for number, records in enumerate(evaluations):
            for place, record in enumerate(records):
                self._asked[number].append(record.id)
                for question in {*_questions(record), *_stem(record)}:
                    self._questions.setdefault(question, []).append((number, place))
                for run in _runs_of_words(record):
                    self._runs.setdefault(run, _Run()).places.append((number, place))

    def look_up(self, record: Record) -> None:
        """Look for what a training record has in common with any evaluation.

        Args:
            record: the next one of the training data.
        """
        number, self._number = self._number, self._number + 1
        found = False
        for question in {*_questions(record), *_parts(record)}:
            for place in self._questions.get(question, ()):
                self._same.append((place, number, question))
                found = True
        said = None
        for run in dict.fromkeys(_runs_of_words(record)):
            if (known := self._runs.get(run)) is None or len(known.texts) > COMMON:
                continue
            # A record that is repeated, as in a mixture, is one.
            said = hash("\n".join(_said(record))) if said is None else said
            known.texts.add(said)
            known.trained.append(number)
            found = True
        if found:
            self._trained[number] = record.id

    def overlaps(self) -> list[Overlap]:
        """What each evaluation has in common with all that was looked up."""
        made = [Overlap(len(ids)) for ids in self._asked]
        for (evaluation, place), number, question in self._same:
            made[evaluation].same.add(place)
            self._note(made[evaluation], evaluation, place, number, question)
        for run, known in self._runs.items():
            if not known.trained or len(known.texts) > COMMON:
                continue
            for evaluation, place in known.places:
                made[evaluation].shared.add(place)
                for number in known.trained:
                    self._note(made[evaluation], evaluation, place, number, run)
        return made

    def _note(self, overlap: Overlap, evaluation: int, place: int, number: int, shared: str) -> None:
        if number not in overlap.trained and len(overlap.examples) < EXAMPLES:
            overlap.examples.append(
                {"asked": self._asked[evaluation][place], "trained": self._trained[number], "shared": shared[:200]}
            )
        overlap.trained.add(number)


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
            "common": COMMON,
            "evaluations": _summaries(evaluations, index.overlaps()),
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
    ids: list[str] = []
    for line in each(read_jsonl(base / "train.jsonl"), "looking for what is asked"):
        drops.read("train")
        ids.append(line["id"])
        index.look_up(from_json(line))
    overlaps = index.overlaps()
    removed = set[int]().union(*(overlap.trained for overlap in overlaps))
    for number in sorted(removed):
        drops.add("also in an evaluation", where=ids[number], split="train")
    left = [number for number in range(len(ids)) if number not in removed]
    if not left and "train" in needs:
        shared = "".join(f"\n  - {each['shared']}" for overlap in overlaps for each in overlap.examples[:1])
        raise UserError(
            f"{base.name}: each of its {len(ids)} training records overlaps with an evaluation of the study, for "
            f"example in:{shared}\nAsk about other data, or leave `contamination: remove` away"
        )
    kept = set(sorted(left, key=lambda number: drawn(seed, "rows", ids[number]))[: rows.get("train")])
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
                "common": COMMON,
                "evaluations": _summaries(evaluations, overlaps),
                "rows": dict(rows),
                "seed": seed,
                "kept": kept_of,
                "short": short(rows, {"train": len(left)}),
                "dropped": drops.summary(),
            },
        )


def _summaries(evaluations: Sequence[Asked], overlaps: Sequence[Overlap]) -> list[dict[str, Any]]:
    return [
        {"clean": evaluation.name, "split": evaluation.split, "rows": evaluation.rows, **overlap.summary()}
        for evaluation, overlap in zip(evaluations, overlaps, strict=True)
    ]


def _questions(record: Record) -> Iterator[str]:
    """All that is asked, in each form in which it may be asked elsewhere: of a question with choices, both together."""
    if isinstance(record, ChoiceQuestion):
        yield "\n".join([plain(record.question), *sorted(map(plain, record.choices))])
        yield plain(_rendered(record))
    else:
        yield "\n".join(map(plain, asked(record)))


def _stem(record: Record) -> Iterator[str]:
    """The question alone, as a dialogue may ask it; with other choices it is another one."""
    if isinstance(record, ChoiceQuestion):
        yield plain(record.question)


def _parts(record: Record) -> Iterator[str]:
    """Every question of a training record that may be asked alone elsewhere."""
    if not isinstance(record, ChoiceQuestion):
        yield from map(plain, asked(record))


def _rendered(record: ChoiceQuestion) -> str:
    choices = zip(string.ascii_uppercase, record.choices, strict=False)
    return " ".join([record.question, *(f"{letter} {choice}" for letter, choice in choices)])


def _said(record: Record) -> Iterator[str]:
    """Questions and answers: all but the system message."""
    if isinstance(record, ChoiceQuestion):
        yield _rendered(record)
        return
    yield from (message["content"] for message in record.messages if message["role"] != "system")
    yield from (record.chosen, record.rejected) if isinstance(record, PreferencePair) else record.summaries


def _runs_of_words(record: Record) -> Iterator[str]:
    for text in _said(record):
        found = plain_words(text)
        for start in range(len(found) - LENGTH + 1):
            yield " ".join(found[start : start + LENGTH])
