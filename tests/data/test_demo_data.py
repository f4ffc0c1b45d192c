"""The shipped demo data: what generate.py makes, with the faults of real data and no text of it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cleaning import resolved

from loragrid.data.clean import clean
from loragrid.data.sources import SOURCES

DEMO = Path(__file__).parents[2] / "data" / "demo"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "clean"
    source = "empathetic_dialogues"
    clean(DEMO / source, out, source, {}, resolved(*SOURCES[source].STEPS), splits=None, rows=None, seed=0)
    records = {s: [json.loads(line) for line in (out / f"{s}.jsonl").read_text().splitlines()] for s in SPLITS}
    return records, json.loads((out / "cleaning.json").read_text())


def test_generating_again_gives_the_same_bytes(tmp_path):
    subprocess.run([sys.executable, "-B", DEMO / "generate.py", tmp_path], check=True)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(made) == 4
    for name, content in made.items():
        assert (DEMO / name).read_bytes() == content, f"{name} is not what generate.py makes"


def test_there_is_enough_of_each_split_and_of_many_emotions(cleaned):
    records, _ = cleaned
    assert {split: len(records[split]) for split in SPLITS} == {"train": 400, "validation": 50, "test": 70}
    assert len({record["meta"]["emotion"] for record in records["train"]}) >= 16
    assert {len(record["messages"]) for record in records["train"]} == {2, 4, 6}


def test_cleaning_meets_every_fault_it_is_made_for(cleaned):
    _, cleaning = cleaned
    assert set(cleaning["dropped"]["train"]) == {
        "broken conversation: a turn is missing",
        "exact duplicate",
        "no answer of the assistant to the user",
        "not valid UTF-8",
        "row given twice",
        "wrong number of fields",
    }
    changed = {step["step"]: step["changed"] for step in cleaning["steps"]}
    assert changed["answered"] == {"train": 72, "validation": 8, "test": 7}  # an end without an answer is cut off


def test_raw_files_have_the_quirks_of_the_original():
    raw = {name: (DEMO / "empathetic_dialogues" / f"{name}.csv").read_bytes() for name in ("train", "valid", "test")}
    assert b"_comma_" in raw["train"]
    assert b'"' in raw["train"]
    for name in ("valid", "test"):
        assert {line.count(b",") for line in raw[name].splitlines()} == {7, 8}


def test_no_dialogue_or_opening_of_the_test_is_in_the_training_but_its_words_are(cleaned):
    records, _ = cleaned
    texts = {split: [message["content"] for r in records[split] for message in r["messages"]] for split in SPLITS}
    openings = {record["messages"][0]["content"] for record in records["train"]}
    assert not openings & {record["messages"][0]["content"] for record in records["test"]}
    known = {word for text in texts["train"] for word in text.split()}
    words = [word for text in texts["test"] for word in text.split()]
    assert sum(word in known for word in words) / len(words) > 0.97


def test_corpus_is_prose_and_other_chats_in_which_nobody_answers_like_the_listener(cleaned):
    records, _ = cleaned
    corpus = DEMO / "corpus.jsonl"
    assert 250_000 < corpus.stat().st_size < 450_000
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    chats = [row["messages"] for row in rows if "messages" in row]
    assert 0.1 < len(chats) / len(rows) < 0.2
    assert all(message["role"] == ("user", "assistant")[n % 2] for chat in chats for n, message in enumerate(chat))
    answers = {m["content"] for split in SPLITS for r in records[split] for m in r["messages"] if m["role"] != "user"}
    assert not answers & {message["content"] for chat in chats for message in chat}
