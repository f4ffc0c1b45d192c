"""TweetSumm in both of DialogStudio's forms."""

import json
import shutil
from pathlib import Path

import pytest

from loragrid.data.sources import get
from loragrid.data.sources.base import Drops
from loragrid.errors import UserError

SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "tweetsumm"


def row(*turns, summaries=(("The customer asks.", "The agent helps."),)):
    return {
        "original dialog id": "abc",
        "dialog index": 1,
        "original dialog info": {"summaries": {"abstractive_summaries": [list(each) for each in summaries]}},
        "log": [{"user utterance": user, "system response": agent} for user, agent in turns],
        "prompt": [],
    }


def read(folder, **options):
    source = get("tweetsumm")
    drops = Drops()
    return list(source.read(folder, source.Options(**options), drops)), drops


def dialogue(record):
    return record["messages"][0]["content"].split("\n\n", 1)[1]


def test_github_form_is_keyed_by_dialogue(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"TweetSumm--train--1": row(("Hi", "Hello"), ("Help", ""))}))
    [(split, record)], _ = read(tmp_path)
    assert (split, record["id"]) == ("train", "TweetSumm--train--1")
    assert dialogue(record) == "Customer: Hi\nAgent: Hello\nCustomer: Help"
    assert record["messages"][1] == {"role": "assistant", "content": "The customer asks. The agent helps."}


def test_hub_form_holds_json_in_a_string(tmp_path):
    raw = row(("Hi", "Hello"))
    raw["new dialog id"] = "TweetSumm--val--1"
    raw["original dialog info"] = json.dumps(raw["original dialog info"])
    (tmp_path / "validation.jsonl").write_text(json.dumps(raw) + "\n")
    (tmp_path / "test.json").write_text(json.dumps([raw]))
    records, _ = read(tmp_path)
    assert [(split, record["id"]) for split, record in records] == [
        ("validation", "TweetSumm--val--1"),
        ("test", "TweetSumm--val--1"),
    ]
    assert records[0][1]["messages"][1]["content"] == "The customer asks. The agent helps."


def test_first_summary_is_the_answer_and_all_are_references(tmp_path):
    (tmp_path / "val.json").write_text(
        json.dumps({"a": row(("Hi", "Yo"), summaries=(["One."], [], ["Two.", "More."]))})
    )
    [(split, record)], _ = read(tmp_path)
    assert split == "validation"
    assert record["messages"][1]["content"] == "One."
    assert record["meta"]["references"] == ["One.", "Two. More."]


@pytest.mark.parametrize(
    ("tweet", "clean"),
    [
        ("See https://t.co/AbC12. Now", "See. Now"),
        ("@AppleSupport help @135060 please", "help please"),
        (".@AppleSupport help", "help"),
        ("All the best. ^SH", "All the best."),
        ("DM us.^In", "DM us."),
        ("Bye ^Clarissa @2134 Hi", "Bye Hi"),
        ("2^n is a power, ^^ a face", "2^n is a power, ^^ a face"),
        ("me@home.org and R&amp;D &lt;3", "me@home.org and R&D <3"),
        ("two\nlines", "two lines"),
    ],
)
def test_noise_of_tweets_is_removed(tmp_path, tweet, clean):
    (tmp_path / "train.json").write_text(json.dumps({"a": row((tweet, "Ok"))}))
    [(_, record)], _ = read(tmp_path)
    assert dialogue(record) == f"Customer: {clean}\nAgent: Ok"


def test_noise_stays_when_the_study_says_so_but_entities_are_unescaped(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"a": row(("@a &amp; https://t.co/x ^SH", "Ok"))}))
    [(_, record)], _ = read(tmp_path, remove=[], instruction="Sum up:")
    assert record["messages"][0]["content"] == "Sum up:\n\nCustomer: @a & https://t.co/x ^SH\nAgent: Ok"


def test_unusable_rows_are_counted_with_their_place(tmp_path):
    broken = row(("Hi", "Yo"))
    broken["original dialog info"] = "{not json"
    lines = [
        json.dumps(row(("Hi", "Yo"), summaries=())),
        json.dumps(row(("@a", "https://t.co/x"))),
        json.dumps(row()),
        json.dumps(broken),
        "[1, 2",
        "7",
        json.dumps(row(("Hi", "Yo"))),
    ]
    (tmp_path / "train.jsonl").write_bytes("\n".join(lines).encode() + b"\n\xff\n")
    records, drops = read(tmp_path)
    assert len(records) == 1
    assert drops.rows_read["train"] == 8
    assert {reason: entry.examples for reason, entry in drops.reasons["train"].items()} == {
        "no abstractive summary": ["train.jsonl:1"],
        "no dialogue": ["train.jsonl:2", "train.jsonl:3"],
        "`original dialog info` is not JSON": ["train.jsonl:4"],
        "line is not JSON": ["train.jsonl:5", "train.jsonl:8"],
        "row is not an object": ["train.jsonl:6"],
    }


def test_a_file_that_is_not_json_is_named(tmp_path):
    (tmp_path / "train.json").write_text("<html>")
    with pytest.raises(UserError, match=r"train\.json: not valid JSON"):
        read(tmp_path)


def test_folder_without_usable_files_lists_what_is_there(tmp_path):
    (tmp_path / "a.json").touch()
    (tmp_path / "b.json").touch()
    with pytest.raises(UserError, match=r"found a\.json, b\.json"):
        read(tmp_path)


def test_real_examples_as_one_file_without_splits(tmp_path):
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample of the real dataset at {SAMPLES}")
    shutil.copy(SAMPLES / "dialogstudio_converted_examples.json", tmp_path)
    records, drops = read(tmp_path)
    assert [split for split, _ in records] == ["all"] * 5
    assert not drops.reasons
    text = "\n".join(record["messages"][0]["content"] for _, record in records)
    for noise in ("http", "@", "^", "&amp;"):
        assert noise not in text
    assert all(len(record["meta"]["references"]) >= 2 for _, record in records)
