"""TweetSumm in DialogStudio's layouts, in that of the original's program, and as annotations with tweets apart."""

import json
import shutil
from pathlib import Path

import pytest
from cleaning import cleaned, formatted

from loragrid.data.drops import Drops
from loragrid.data.sources import SOURCES
from loragrid.errors import UserError

SOURCE = SOURCES["tweetsumm"]
SAMPLES = Path(__file__).parents[3] / "shared" / "data" / "tweetsumm"


def row(*turns, summaries=(("The customer asks.", "The agent helps."),)):
    return {
        "original dialog id": "abc",
        "dialog index": 1,
        "original dialog info": {"summaries": {"abstractive_summaries": [list(each) for each in summaries]}},
        "log": [{"user utterance": user, "system response": agent} for user, agent in turns],
        "prompt": [],
    }


def read(folder):
    drops = Drops()
    return list(SOURCE.read(folder, SOURCE.Options(), drops)), drops


def asked(record, *steps, **options):
    """What is asked and answered in the source's own format, with its own steps unless others are given."""
    options = SOURCE.FORMAT["summary"] | options
    (example,) = formatted(cleaned(record, *(steps or SOURCE.STEPS)), {"summary": options})
    question, answer = example.messages
    return question["content"], answer["content"]


def dialogue(record, *steps):
    return asked(record, *steps)[0].split("\n\n", 1)[1]


def test_github_form_is_keyed_by_dialogue(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"TweetSumm--train--1": row(("Hi", "Hello"), ("Help", ""))}))
    [(split, record)], _ = read(tmp_path)
    assert (split, record.id) == ("train", "TweetSumm--train--1")
    assert dialogue(record) == "Customer: Hi\nAgent: Hello\nCustomer: Help"
    assert asked(record)[1] == "The customer asks. The agent helps."


def test_hub_form_holds_json_in_a_string(tmp_path):
    raw = row(("Hi", "Hello"))
    raw["new dialog id"] = "TweetSumm--val--1"
    raw["original dialog info"] = json.dumps(raw["original dialog info"])
    (tmp_path / "validation.jsonl").write_text(json.dumps(raw) + "\n")
    (tmp_path / "test.json").write_text(json.dumps([raw]))
    records, _ = read(tmp_path)
    assert [(split, record.id) for split, record in records] == [
        ("validation", "TweetSumm--val--1"),
        ("test", "TweetSumm--val--1"),
    ]
    assert asked(records[0][1])[1] == "The customer asks. The agent helps."


def test_first_summary_is_the_answer_and_all_are_references(tmp_path):
    (tmp_path / "val.json").write_text(
        json.dumps({"a": row(("Hi", "Yo"), summaries=(["One."], [], ["Two.", "More."]))})
    )
    [(split, record)], _ = read(tmp_path)
    assert split == "validation"
    assert asked(record)[1] == "One."
    assert record.summaries == ["One.", "Two. More."]


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


def test_noise_stays_when_the_study_says_so(tmp_path):
    (tmp_path / "train.json").write_text(json.dumps({"a": row(("@a &amp; https://t.co/x ^SH", "Ok"))}))
    [(_, record)], _ = read(tmp_path)
    question, _ = asked(record, "unescape", instruction="Sum up:")
    assert question == "Sum up:\n\nCustomer: @a & https://t.co/x ^SH\nAgent: Ok"


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
    assert cleaned(records[0][1], *SOURCE.STEPS).messages == []  # noise and nothing else, dropped as "no messages"
    assert len(records) == 2
    assert drops.rows_read["train"] == 8
    assert {reason: entry.examples for reason, entry in drops.reasons["train"].items()} == {
        "no abstractive summary": ["train.jsonl:1"],
        "no dialogue": ["train.jsonl:3"],
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
    text = "\n".join(asked(record)[0] for _, record in records)
    for noise in ("http", "@", "^", "&amp;"):
        assert noise not in text
    assert all(len(record.summaries) >= 2 for _, record in records)


def original(*turns, name="b0", summaries=(("The customer asks.", "The agent helps."),)):
    """A row as the original's get_json() writes it."""
    return {
        "dialog": {
            "dialog_id": name,
            "turns": [{"is_agent": is_agent, "sentences": list(sentences)} for is_agent, *sentences in turns],
        },
        "summaries": {"extractive_summaries": [], "abstractive_summaries": [list(each) for each in summaries]},
    }


def test_the_originals_own_layout_with_tweets_of_one_side_in_one_turn(tmp_path):
    (tmp_path / "train.json").write_text(
        json.dumps([original((False, "Hi.", "Help!"), (False, "@a please"), (True, "Sure. ^SH"), name="b06")])
    )
    [(_, record)], _ = read(tmp_path)
    assert record.id == "b06"
    assert dialogue(record) == "Customer: Hi. Help! please\nAgent: Sure."
    assert asked(record)[1] == "The customer asks. The agent helps."


ANNOTATION = {
    "conversation_id": "caae",
    "tweet_ids_sentence_offset": [
        {"tweet_id": 11, "sentence_offsets": ["[0, 6]", "[7, 12]"]},
        {"tweet_id": 12, "sentence_offsets": ["[4, 12]"]},
    ],
    "annotations": [{"extractive": [], "abstractive": ["It broke.", "They help."]}, {"abstractive": []}],
}
TWEETS = """tweet_id,author_id,inbound,created_at,text,response_tweet_id,in_response_to_tweet_id
10,a,True,now,not asked for,,
11,b,True,now,"Broke,\nhelp! and more",12,
12,Shop,False,now,"@b, DM us",,11
"""


def test_annotations_are_joined_with_their_tweets(tmp_path):
    (tmp_path / "final_valid_tweetsum.jsonl").write_text(json.dumps(ANNOTATION) + "\n")
    (tmp_path / "twcs.csv").write_text(TWEETS, newline="")
    [(split, record)], drops = read(tmp_path)
    assert (split, record.id) == ("validation", "caae")
    assert dialogue(record) == "Customer: Broke, help!\nAgent: DM us"
    assert record.summaries == ["It broke. They help."]
    assert not drops.reasons


def test_annotations_without_tweets_say_where_they_are(tmp_path):
    (tmp_path / "final_train_tweetsum.jsonl").write_text(json.dumps(ANNOTATION) + "\n")
    with pytest.raises(UserError, match=r"put twcs\.csv of Kaggle's thoughtvector"):
        read(tmp_path)
    (tmp_path / "twcs.csv").write_text("id,text\n1,a\n")
    with pytest.raises(UserError, match=r"twcs\.csv: no column inbound, tweet_id; found id, text"):
        read(tmp_path)
    (tmp_path / "twcs.csv").write_text(TWEETS.splitlines()[0] + "\n")
    records, drops = read(tmp_path)
    assert not records
    assert drops.reasons["train"]["a tweet that twcs.csv lacks"].count == 1


def test_what_is_not_text_is_a_counted_drop(tmp_path):
    rows = {
        "a": row((float("nan"), "Ok")), "b": {**row(), "log": ["Where is it?"]}, "c": row((None, "Ok")),
        "d": original((True, 7)), "e": original(("yes", "Hi")), "f": {"messages": []},
    }  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps(rows))
    records, drops = read(tmp_path)
    assert [dialogue(record) for _, record in records] == ["Agent: Ok"]
    assert {reason: entry.count for reason, entry in drops.reasons["train"].items()} == {
        "`user utterance` is not text": 1, "a turn is not an object": 1, "a sentence is not text": 1,
        "a turn without `is_agent` and `sentences`": 1, "row of an unknown layout": 1,
    }  # fmt: skip


def test_a_layout_that_is_not_known_is_told_with_its_columns(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({"document": "Hi", "summary": "Hi"}) + "\n")
    with pytest.raises(UserError, match=r"no known layout; expected `log` and .* found document, summary"):
        read(tmp_path)


def test_both_layouts_of_the_same_real_dialogues_give_the_same(tmp_path):
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample of the real dataset at {SAMPLES}")
    found = []
    for name in ("dialogstudio_converted_examples.json", "dialogstudio_original_examples.json"):
        (tmp_path / name).mkdir()
        shutil.copy(SAMPLES / name, tmp_path / name)
        records, drops = read(tmp_path / name)
        assert not drops.reasons
        found.append([(cleaned(record, *SOURCE.STEPS).messages, record.summaries) for _, record in records])
    assert found[0] == found[1]


def test_real_annotations_say_that_their_tweets_are_missing(tmp_path):
    if not SAMPLES.is_dir():
        pytest.skip(f"no sample of the real dataset at {SAMPLES}")
    shutil.copy(SAMPLES / "final_valid_tweetsum.sample.jsonl", tmp_path / "final_valid_tweetsum.jsonl")
    with pytest.raises(UserError, match="hold numbers of tweets only"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["train.json", "train.jsonl"])
def test_a_byte_order_mark_is_read_and_another_encoding_named(tmp_path, name):
    text = json.dumps([row(("Hi", "Yo"))] if name == "train.json" else row(("Hi", "Yo")))
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    records, drops = read(tmp_path)
    assert len(records) == 1
    assert not drops.reasons
    (tmp_path / name).write_text(text, encoding="utf-16")
    with pytest.raises(UserError, match=r"not valid UTF-8 \(it seems to be UTF-16: save it as UTF-8\)"):
        read(tmp_path)
