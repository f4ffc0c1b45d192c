import pytest
from objects import CHAT

from loragrid.data.prompts import write_prompts
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl

SYSTEM = {"role": "system", "content": "Be brief."}
ONE = [
    {"role": "user", "content": "u1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "u2"},
    {"role": "assistant", "content": "a2"},
]
RECORDS = [
    {"id": "one", "messages": ONE, "meta": {"emotion": "sad"}},
    {"id": "two", "messages": [SYSTEM, *ONE[:2]], "meta": {}},
]


@pytest.fixture
def ask(tmp_path):
    def ask(records=RECORDS, **changes):
        write_jsonl(tmp_path / "clean" / "test.jsonl", records)
        settings = {
            "format_": CHAT,
            "split": "test",
            "turns": "last",
            "rows": None,
            "system": None,
            "default_system": None,
            "context": {},
        } | changes
        write_prompts(tmp_path / "clean", tmp_path / "prompts.jsonl", **settings)
        return list(read_jsonl(tmp_path / "prompts.jsonl"))

    ask.out = tmp_path / "prompts.jsonl"
    return ask


def test_the_last_answer_is_the_reference(ask):
    one, two = ask()
    assert one == {
        "id": "one#3", "dialogue": "one", "messages": ONE[:3], "reference": "a2", "meta": {"emotion": "sad"},
    }  # fmt: skip
    assert (two["id"], two["messages"], two["reference"]) == ("two#2", [SYSTEM, ONE[0]], "a1")


def test_every_answer(ask):
    assert [(prompt["id"], prompt["reference"]) for prompt in ask(turns="all")] == [
        ("one#1", "a1"), ("one#3", "a2"), ("two#2", "a1"),
    ]  # fmt: skip


def test_rows_are_dialogues(ask):
    assert [prompt["id"] for prompt in ask(turns="all", rows=1)] == ["one#1", "one#3"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [None, "Be brief."]),
        ({"default_system": "Be kind."}, ["Be kind.", "Be brief."]),
        ({"system": "Be odd.", "default_system": "Be kind."}, ["Be odd.", "Be odd."]),
        ({"system": ""}, [None, None]),
    ],
)
def test_system_prompts(ask, settings, expected):
    first = [prompt["messages"][0] for prompt in ask(**settings)]
    assert [message["content"] if message["role"] == "system" else None for message in first] == expected


def test_a_context_is_what_is_read_of_each_prompt(ask, capsys):
    said = ["The dog ran off.", "How are you?", "Not so well.", "Did the dog bark?"]
    messages = [{**message, "content": text} for message, text in zip(ONE, said, strict=True)]
    records = [{"id": "one", "messages": [SYSTEM, *messages], "meta": {}}]
    first, last = ask(records, turns="all", context={"stopwords": "remove", "language": "en"})
    assert first["messages"] == [SYSTEM, messages[0]]
    assert [message["content"] for message in last["messages"]] == ["Be brief.", "dog", "How are you?", "Not so well."]
    assert (last["id"], last["reference"]) == ("one#4", "Did the dog bark?")
    assert (
        "of 7 words in 2 messages before what is asked, 3 are stopwords and left out; "
        "1 messages are nothing but stopwords, and stay"
    ) in capsys.readouterr().out
    (newest,) = ask(records, context={"turns": 2})
    assert newest["messages"] == [SYSTEM, messages[2]]
    assert capsys.readouterr().out == ""


def test_nothing_to_ask(ask):
    with pytest.raises(UserError, match="no record has an answer to ask for"):
        ask([])
    assert not ask.out.exists()
