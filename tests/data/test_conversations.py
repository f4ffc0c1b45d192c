"""Conversations that are played: which turns there are, and what is known of each before anybody has answered."""

import pytest
from objects import CHAT

from loragrid.data.conversations import write_conversations
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl

REPLAY = {"name": "replay", "version": 1, "options": {}}
RECORDED = [
    {"role": "user", "content": "u1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "u2"},
    {"role": "assistant", "content": "a2"},
]


@pytest.fixture
def ask(tmp_path):
    def ask(*records, **changes):
        write_jsonl(tmp_path / "clean" / "test.jsonl", records)
        settings = {
            "format_": CHAT, "split": "test", "turns": "all", "rows": None, "system": None, "default_system": None,
            "context": {},
        } | changes  # fmt: skip
        write_conversations(tmp_path / "clean", tmp_path / "turns.jsonl", **settings)
        return list(read_jsonl(tmp_path / "turns.jsonl"))

    return ask


def test_each_turn_waits_for_the_one_before(ask):
    first, second = ask({"id": "one", "messages": RECORDED, "meta": {"emotion": "sad"}})
    assert first == {
        "id": "one#1", "dialogue": "one", "messages": RECORDED[:1], "reference": "a1",
        "meta": {"emotion": "sad", "turn": "turn_1"}, "turn": 1, "after": None,
    }  # fmt: skip
    assert second["messages"] == RECORDED[:3]
    assert (second["after"], second["reference"], second["turn"]) == ("one#1", "a2", 2)


def test_questions_of_mt_bench_have_a_place_for_each_answer(ask):
    questions = [{"role": "user", "content": "q1"}, {"role": "user", "content": "q2"}]
    record = {"id": "81", "messages": questions, "meta": {"category": "math", "references": ["r1", "r2"]}}
    first, second = ask(record, format_=REPLAY, system="Be brief.")
    assert first["messages"] == [{"role": "system", "content": "Be brief."}, questions[0]]
    assert [message["content"] for message in second["messages"]] == ["Be brief.", "q1", "r1", "q2"]
    assert [turn["reference"] for turn in (first, second)] == ["r1", "r2"]
    assert (first["id"], second["after"]) == ("81#2", "81#2")


def test_one_answer_of_a_conversation_is_scored(ask):
    turns = ask({"id": "one", "messages": RECORDED, "meta": {}}, turns="last", context={"turns": 2})
    assert [turn.get("scored", True) for turn in turns] == [False, True]
    assert [turn["context"] for turn in turns] == [{"turns": 2}] * 2


def test_nothing_to_ask_is_told(ask):
    silent = {"id": "one", "messages": [{"role": "assistant", "content": "Hello?"}], "meta": {}}
    with pytest.raises(UserError, match="no record has anything to ask\n  - the user says nothing: 1"):
        ask(silent, format_=REPLAY)
