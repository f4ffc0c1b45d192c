"""The layouts in which people have rows for fine-tuning, and a user's own files of them."""

import contextlib
import datetime
import json

import pyarrow
import pytest
from cleaning import said
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from loragrid.data.drops import Drops
from loragrid.data.layouts import LAYOUTS, Unusable, recognise, record
from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair
from loragrid.data.sources import SOURCES
from loragrid.errors import UserError


def answer(text):
    return {"role": "assistant", "content": text}


U, A = {"role": "user", "content": "Hi"}, answer("Hello")
HI = [("user", "Hi"), ("assistant", "Hello")]
PARTS = [{"type": "text", "text": "Hi"}]
SHARED = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]


@pytest.mark.parametrize(
    ("layout", "row", "expected"),
    [
        ("messages", {"messages": [{"role": "system", "content": "S"}, U, A]}, [("system", "S"), *HI]),
        ("messages", {"messages": json.dumps([U, A]), "system": "S"}, [("system", "S"), *HI]),
        ("messages", {"messages": [{"role": "user", "content": PARTS}, A]}, HI),
        ("sharegpt", {"conversations": SHARED}, HI),
        ("alpaca", {"instruction": "Add", "input": "1 2", "output": "3"}, [("user", "Add\n\n1 2"), ("assistant", "3")]),
        ("alpaca", {"instruction": "Hi", "input": None, "output": "Hello"}, HI),
        ("completion", {"prompt": "Hi", "completion": "Hello", "system": ""}, HI),
    ],
)  # fmt: skip
def test_dialogues(layout, row, expected):
    assert recognise(row) == layout
    made = record(layout, row, "f:1", {})
    assert isinstance(made, Dialogue)
    assert said(made.messages) == expected


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Hey", "rejected": "Go"},
        {"prompt": [U], "chosen": [answer("Hey")], "rejected": [answer("Go")]},
        {"chosen": [U, answer("Hey")], "rejected": [U, answer("Go")]},
        {"prompt": "Hi", "chosen": [answer("Hey")], "rejected": [answer("Go")]},
    ],
)  # fmt: skip
def test_preference_pairs(row):
    assert recognise(row) == "preference"
    assert record("preference", {**row, "id": 7}, "f:1", {}) == PreferencePair("7", [U], "Hey", "Go", where="f:1")


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": ["3", "4"], "answer": "B"}, 1),
        ({"choices": ["3", "4"], "answer": "(b)"}, 1),
        ({"choices": ["3", "4"], "answer": 0}, 0),
        ({"choices": ["x", "y"], "answer": "1"}, 1),
        ({"choices": ["3", "4"], "answer": "4"}, 1),  # a choice's own text comes before a number
        ({"choices": '["x", "y"]', "answer": "y"}, 1),
        ({"A": "x", "B": "y", "C": "z", "answer": "C"}, 2),
        ({"A": "B", "B": "0", "C": "A", "answer": "B"}, 1),  # a letter names a place, whatever the choices are
    ],
)
def test_choice_questions(row, right):
    row = {"question": "2 + 2?", **row}
    assert recognise(row) == "choice"
    made = record("choice", row, "f:1", {})
    assert isinstance(made, ChoiceQuestion)
    assert made.answer == right


@pytest.mark.parametrize(
    ("layout", "row", "reason"),
    [
        ("messages", {"messages": "Hi"}, "`messages` is not a list of messages"),
        ("messages", {"messages": [{"role": "user"}]}, "a message without `role` and `content` as text"),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"image": 1}]}]},
            "a message has parts that are not text",
        ),
        ("messages", {"messages": [{**A, "weight": 0}]}, "a message that is not to be learnt (weight 0)"),
        ("completion", {"prompt": "a", "completion": None}, "no completion"),
        ("completion", {"prompt": "a", "completion": float("nan")}, "`completion` is not text"),
        (
            "preference",
            {"prompt": "a", "chosen": [U], "rejected": [U]},
            "`chosen` does not end with an answer of the assistant",
        ),
        ("preference", {"chosen": [U, A], "rejected": [A]}, "`chosen` and `rejected` do not answer the same dialogue"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": "C"}, "the answer is none of the choices"),
        ("choice", {"question": "q", "choices": ["a", "b"], "answer": True}, "`answer` is no letter, number or text"),
        ("choice", {"question": "q", "A": "a", "C": "b", "answer": "A"}, "a choice between two others is missing"),
    ],
)  # fmt: skip
def test_unusable_rows(layout, row, reason):
    with pytest.raises(Unusable) as told:
        record(layout, row, "f:1", {})
    assert str(told.value) == reason


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]), inner)
    ),
    max_leaves=6,
)
FIELDS = ["messages", "conversations", "system", "prompt", "completion", "instruction", "input", "output", "chosen"]
FIELDS += ["rejected", "question", "choices", "answer", "A", "B", "id"]


@given(layout=st.sampled_from(list(LAYOUTS)), row=st.dictionaries(st.sampled_from(FIELDS), VALUES))
@settings(max_examples=300, deadline=None)
def test_any_row_is_a_record_or_unusable(layout, row):
    # Anything but `Unusable` would end the test.
    with contextlib.suppress(Unusable):
        assert type(record(layout, row, "f:1", {})) is LAYOUTS[layout].kind


def read(name, folder, **options):
    source = SOURCES[name]
    drops = Drops()
    return list(source.read(folder, source.Options(**options), drops)), drops


def test_columns_that_are_called_otherwise(tmp_path):
    (tmp_path / "own.csv").write_text("question,answer,topic\nHi?,Hello!,smalltalk\n")
    columns = {"prompt": "question", "completion": "answer"}
    [(split, made)], _ = read("csv", tmp_path, columns=columns, meta=["topic"])
    assert (split, made.id, made.meta) == ("all", "own.csv:2", {"topic": "smalltalk"})
    assert said(made.messages) == [("user", "Hi?"), ("assistant", "Hello!")]


def test_a_mismatch_says_what_was_expected_and_found_and_shows_the_first_row(tmp_path):
    (tmp_path / "own.csv").write_text("frage,antwort\nHi?," + "x" * 500 + "\n")
    for options, expected in (
        (
            {},
            ["not the columns of a known layout", "(layout sharegpt)", "frage, antwort", '{"frage": "Hi?", "antwort"'],
        ),
        ({"columns": {"prompt": "question"}}, ["no column 'question'", "found:    frage, antwort"]),
        ({"layout": "alpaca"}, ["expected: instruction, output\n"]),
        ({"columns": {"prompt": "frage", "completion": "antwort"}, "meta": ["topic"]}, ["no column 'topic'"]),
    ):
        with pytest.raises(UserError) as told:
            read("csv", tmp_path, **options)
        for words in (str(tmp_path / "own.csv"), *expected):
            assert words in str(told.value)
        assert len(str(told.value)) < 1000


def test_a_study_is_checked_with_its_local_files(tmp_path, monkeypatch, capsys):
    from loragrid.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.jsonl").write_text(json.dumps({"frage": "a"}) + "\n")
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    (tmp_path / "study.yaml").write_text("""
title: x
models: {m: {id: a/b, parameters: 1e9}}
datasets:
  own: {source: jsonl, path: own.jsonl}
  pairs: {source: jsonl, path: pairs.jsonl, format: chat}
  far: {source: hub, id: a/b, files: ["*"]}
  none: {source: csv}
  extes: {source: extes}
""")
    assert main(["check", "study.yaml"]) == 1
    told = capsys.readouterr().err
    assert "datasets.own: own.jsonl: not the columns of a known layout" in told
    assert "datasets.pairs.format: 'chat' is not for what jsonl has. Valid: preference." in told
    assert "datasets.far: give its `layout` (preference, choice, messages" in told
    assert "datasets.none: give the place of your files as `path`" in told
    assert "datasets.extes: has no download; get it from https://github.com/pandazzh2020/ExTES" in told


def test_folders_are_called_after_the_users_files(tmp_path, monkeypatch):
    from loragrid.plugins import REGISTRY
    from loragrid.study.open import open_study

    monkeypatch.chdir(tmp_path)
    (tmp_path / "My data.jsonl").write_text(json.dumps({"messages": [U, A]}) + "\n")
    (tmp_path / "study.yaml").write_text("""
title: x
models: {m: {id: a/b, parameters: 1e9}}
datasets:
  own: {source: jsonl, path: My data.jsonl, splits: {validation: 0.1, test: 0.1}}
  far: {source: hub, id: a/Some-Data, files: ["*"], layout: messages}
""")
    grid = open_study("study.yaml", REGISTRY)
    assert {folder.split("/")[3] for folder in grid.runs} == {"my-data", "some-data"}
    assert grid.raw[next(clean.raw for clean in grid.clean.values() if clean.slug == "some-data")].remote == {
        "hub": {"id": "a/Some-Data", "files": ["*"]}
    }


def test_a_field_that_no_row_is_asked_for_is_a_problem():
    with pytest.raises(ValueError, match="there is no field 'sytem'; did you mean 'system'"):
        SOURCES["csv"].Options(columns={"sytem": "persona"})


def test_a_file_of_which_no_row_can_be_read_says_why(tmp_path):
    (tmp_path / "own.csv").write_bytes("a,b\ncaf\u00e9,1\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"own\.csv: no row can be read: not valid UTF-8 \(1\)"):
        SOURCES["csv"].kind(SOURCES["csv"].Options(), tmp_path)
    (tmp_path / "own.csv").write_bytes(b"a,b\n")
    with pytest.raises(UserError, match="no row can be read; it is empty"):
        SOURCES["csv"].kind(SOURCES["csv"].Options(), tmp_path)


def test_dates_of_parquet_are_kept_as_text(tmp_path):
    rows = [{"prompt": "a", "completion": "b", "created": datetime.date(2025, 1, 2)}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "own.parquet")
    [(_, made)], _ = read("parquet", tmp_path, meta=["created"])
    assert made.meta == {"created": "2025-01-02"}


def test_answers_that_count_from_one_are_refused(tmp_path):
    """Read as from 0, most would give the choice beside the right one."""
    header, rows_ = "question,A,B,C,D,answer", [f"Q{n}?,a,b,c,d,{n % 4 + 1}" for n in range(8)]
    (tmp_path / "own.csv").write_text("\n".join([header, *rows_]))
    source = SOURCES["csv"]
    with pytest.raises(UserError, match="its answers seem to be numbered from 1"):
        list(source.read(tmp_path, source.Options(), Drops()))
    (tmp_path / "own.csv").write_text("\n".join([header, *rows_, "Q9?,a,b,c,d,0"]))
    drops = Drops()
    assert len(list(source.read(tmp_path, source.Options(), drops))) == 7
    (reason,) = drops.reasons["all"]
    assert reason == "the answer's number, from 0, is one more than there are choices"
