"""Formats: what a record becomes for a model."""

import pytest
from cleaning import formatted, said

from loragrid.data.formats import FORMATS
from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair
from loragrid.errors import UserError

TALK = Dialogue(
    "d1",
    [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "My cat is ill."},
        {"role": "assistant", "content": "Oh no."}, {"role": "user", "content": "It {coughs}."},
        {"role": "assistant", "content": "Poor thing."},
    ],
    {"emotion": "sad"},
    summaries=["A cat coughs.", "Somebody is worried."],
)  # fmt: skip
PLAIN = Dialogue("d2", TALK.messages[1:3], {"emotion": "sad"})


def only(record, format_):
    (example,) = formatted(record, format_)
    return example


def test_chat_is_the_dialogue_with_a_system_message_where_it_has_none():
    assert only(TALK, {"chat": {"system": "Feel."}}).messages == TALK.messages
    assert said(only(PLAIN, {"chat": {"system": "They are {emotion}."}}).messages)[0] == ("system", "They are sad.")
    assert only(PLAIN, "chat").messages == PLAIN.messages


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (["user", "assistant", "user"], "does not end with an answer of the assistant"),
        (["assistant", "user", "assistant"], "does not begin with the user"),
        (["user", "system", "assistant"], "system message in the middle"),
        (["user", "user", "assistant"], "two messages of one role in a row (the step `merge_turns` joins them)"),
        (["system"], "does not end with an answer of the assistant"),
    ],
)
def test_what_no_chat_template_takes_is_dropped_with_the_reason(roles, reason):
    assert formatted(Dialogue("d", [{"role": role, "content": "x"} for role in roles]), "chat") == reason


def test_instruction_puts_a_frame_around_each_answered_turn():
    one, two = formatted(TALK, "instruction")
    system = ("system", "Be kind.")
    assert said(one.messages) == [system, ("user", "Instruction: My cat is ill.\nResponse:"), ("assistant", "Oh no.")]
    assert said(two.messages)[1] == ("user", "Instruction: It {coughs}.\nResponse:")  # what people say is not filled in
    assert (one.id, two.id, one.record) == ("d1:2", "d1:4", "d1")


def test_a_frame_that_says_the_same_to_everybody_is_refused():
    with pytest.raises(ValueError, match="has no name in braces"):
        formatted(PLAIN, {"instruction": {"frame": "Just say it"}})


def test_summary_shows_the_dialogue_and_answers_with_the_first_summary():
    example = only(TALK, {"summary": {"user": "Customer", "assistant": "Agent", "system": "Sum up."}})
    assert said(example.messages) == [
        ("system", "Sum up."),
        (
            "user",
            "Summarise this conversation.\n\nCustomer: My cat is ill.\nAgent: Oh no.\nCustomer: It {coughs}.\n"
            "Agent: Poor thing.",
        ),
        ("assistant", "A cat coughs."),
    ]
    assert example.meta["references"] == TALK.summaries
    assert formatted(PLAIN, "summary") == "no summary"


def test_choice_is_answered_by_a_letter():
    question = ChoiceQuestion("q1", "2 + 2?", ["3", "4", "5"], 1, {"subject": "sums"})
    example = only(question, "choice")
    assert said(example.messages) == [("user", "2 + 2?\nA. 3\nB. 4\nC. 5\nAnswer:"), ("assistant", "B")]
    assert example.choices == ["A", "B", "C"]
    asked = only(question, {"choice": {"frame": "About {subject}: {question}\n{choices}"}}).messages[0]["content"]
    assert asked.startswith("About sums: 2 + 2?")


def test_a_preference_pair_is_the_dialogue_with_both_answers():
    pair = PreferencePair("p1", [{"role": "user", "content": "Hi"}], "Hey!", "I am a program.")
    example = only(pair, {"preference": {"system": "Be human."}})
    assert said(example.messages) == [("system", "Be human."), ("user", "Hi"), ("assistant", "Hey!")]
    assert example.rejected == "I am a program."


def test_a_name_that_the_records_lack_is_told_with_those_they_have():
    with pytest.raises(UserError, match=r"format\.chat\.system: there is no \{mood\}; the records have emotion"):
        formatted(PLAIN, {"chat": {"system": "{mood}"}})


def test_every_format_says_which_records_it_takes():
    assert {name: format_.KIND.__name__ for name, format_ in FORMATS.items()} == {
        "chat": "Dialogue", "choice": "ChoiceQuestion", "instruction": "Dialogue", "preference": "PreferencePair",
        "replay": "Dialogue", "summary": "Dialogue",
    }  # fmt: skip
