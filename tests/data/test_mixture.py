"""Mixtures of cleaned datasets."""

import json
from pathlib import Path

import pytest

from loragrid.data.drops import SPLITS
from loragrid.data.mixture import Part, mix
from loragrid.errors import UserError
from loragrid.files import read_json, read_jsonl, write_jsonl


def record(number, answer="An answer."):
    messages = [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": answer}]
    return {"id": f"r{number}", "messages": messages, "meta": {}}


@pytest.fixture
def part(tmp_path):
    """A cleaned dataset with so many records in each split; none is in another one."""
    made = []

    def make(name, number, train, validation=0, test=0, records=()):
        folder = tmp_path / name
        first = 1000 * len(made)
        made.append(name)
        for split, rows in zip(SPLITS, (train, validation, test), strict=True):
            lines = [record(first + index) for index in range(rows)]
            write_jsonl(folder / f"{split}.jsonl", lines + (list(records) if split == "train" else []))
            first += rows
        return Part(name, folder, number)

    return make


@pytest.fixture
def mixed(tmp_path):
    """The cleaning.json of a mixture."""

    def run(*parts, by="weights", repeat=False, rows=None, seed=0, needs=("train",)):
        mix(parts, tmp_path / "out", by=by, repeat=repeat, rows=rows or {}, seed=seed, needs=needs)
        return read_json(tmp_path / "out/cleaning.json")

    return run


def ids(split="train", folder="out"):
    return [line["id"] for line in read_jsonl(Path(folder, f"{split}.jsonl"))]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def kept(cleaning, split="train"):
    return {name: part["kept"] for name, part in cleaning["parts"][split].items()}


def test_without_a_total_there_are_as_many_as_the_weights_allow(part, mixed):
    cleaning = mixed(part("big", 3, 100, 40, 7), part("small", 1, 10, 1))
    assert kept(cleaning) == {"big": 30, "small": 10}
    assert cleaning["shares"]["train"] == {"big": 0.75, "small": 0.25}
    # One that has few of a split costs the others none of theirs.
    assert kept(cleaning, "validation") == {"big": 40, "small": 1}
    assert kept(cleaning, "test") == {"big": 7, "small": 0}
    assert cleaning["short"] == {}
    assert cleaning["kept"] == {"train": 40, "validation": 41, "test": 7}


def test_no_other_part_takes_the_place_of_one_that_has_too_few(part, mixed):
    cleaning = mixed(part("big", 1, 100, 40), part("small", 1, 100, 3), rows={"validation": 20})
    assert kept(cleaning, "validation") == {"big": 10, "small": 3}
    assert cleaning["short"]["validation"] == {"small": {"wanted": 10, "kept": 3}}


def test_a_total_is_shared_out_to_the_last_row(part, mixed):
    cleaning = mixed(part("a", 1, 50), part("b", 1, 50), part("c", 1, 50), rows={"train": 100})
    assert kept(cleaning) == {"a": 34, "b": 33, "c": 33}
    assert len(ids()) == len(set(ids())) == 100


def test_counts_are_counts(part, mixed):
    cleaning = mixed(part("a", 7, 20), part("b", 20, 20), by="counts")
    assert kept(cleaning) == {"a": 7, "b": 20}


def test_a_small_source_is_not_repeated_and_that_is_said(part, mixed):
    cleaning = mixed(part("a", 20, 30), part("b", 20, 4), by="counts")
    assert kept(cleaning) == {"a": 20, "b": 4}
    assert cleaning["short"] == {"train": {"b": {"wanted": 20, "kept": 4}}}
    assert cleaning["parts"]["train"]["b"]["repeats"] == 0


def test_on_request_it_is_repeated_evenly_and_counted(part, mixed):
    cleaning = mixed(part("a", 20, 30), part("b", 10, 4), by="counts", repeat=True)
    assert cleaning["parts"]["train"]["b"] == {"wanted": 10, "available": 4, "kept": 10, "repeats": 6}
    times = [sum(line["messages"][0]["content"] == f"Question {n}?" for line in read_jsonl(Path("out/train.jsonl")))
             for n in range(1000, 1004)]  # fmt: skip
    assert sorted(times) == [2, 2, 3, 3]
    assert len(set(ids())) == 30  # each repeat has a name of its own


def test_validation_and_test_are_never_repeated(part, mixed):
    cleaning = mixed(part("a", 1, 5, 50, 50), part("b", 1, 5, 2, 2), repeat=True, rows={"validation": 20})
    assert kept(cleaning, "validation") == {"a": 10, "b": 2}
    assert kept(cleaning, "test") == {"a": 50, "b": 2}


def test_what_two_datasets_have_in_common_is_there_once_and_never_on_both_sides(part, mixed):
    first = part("first", 1, 3, 0, 2)  # questions 0, 1, 2, and 3, 4 in test
    again = part("again", 1, 3, records=[record(1), record(3), record(4, "Another answer.")])
    cleaning = mixed(first, again, rows={"train": 10})
    assert kept(cleaning) == {"first": 3, "again": 3}
    dropped = {reason: entry["count"] for reason, entry in cleaning["dropped"]["train"].items()}
    assert dropped == {"also in test": 2, "exact duplicate": 1}
    assert cleaning["dropped"]["train"]["exact duplicate"]["examples"] == ["again/r1"]


def test_records_say_which_dataset_they_are_of(part, mixed):
    mixed(part("a", 1, 2), part("b", 1, 2))
    assert [(line["id"], line["meta"]) for line in read_jsonl(Path("out/train.jsonl"))] == [
        ("a/r0", {"dataset": "a"}), ("a/r1", {"dataset": "a"}),
        ("b/r1000", {"dataset": "b"}), ("b/r1001", {"dataset": "b"}),
    ]  # fmt: skip
    assert read_json(Path("out/statistics.json"))["train"]["meta"] == {"dataset": {"a": 2, "b": 2}}


def test_the_same_mixture_is_the_same_bytes_and_another_seed_another(part, mixed):
    parts = part("a", 1, 50), part("b", 1, 9)
    mixed(*parts)
    first = [Path("out", f"{split}.jsonl").read_bytes() for split in SPLITS]
    mixed(*parts)
    assert [Path("out", f"{split}.jsonl").read_bytes() for split in SPLITS] == first
    mixed(*parts, seed=1)
    assert Path("out/train.jsonl").read_bytes() != first[0]


def test_more_rows_keep_those_that_were_there(part, mixed):
    parts = part("a", 1, 50), part("b", 1, 50)
    mixed(*parts, rows={"train": 20})
    few = set(ids())
    mixed(*parts, rows={"train": 60})
    assert few < set(ids())


def test_nothing_left_of_a_split_is_told(part, mixed):
    with pytest.raises(UserError, match="mixture of a: nothing is left of the validation split; none of them has any"):
        mixed(part("a", 1, 5), needs=("train", "validation"))
    assert not Path("out").exists()


def test_cleaning_json_is_json(part, mixed):
    assert json.loads(json.dumps(mixed(part("a", 0.5, 5))))["mixture"] == {"a": 0.5}
