"""Cleaning steps: what each takes away and leaves, and that none raises, invents, or does more at a second time."""

import pytest
from cleaning import cleaned, said
from hypothesis import example, given, settings
from hypothesis import strategies as st

from loragrid.data.records import ChoiceQuestion, Dialogue, PreferencePair, texts
from loragrid.data.steps import STEPS

ROLES = ["user", "assistant"]

EVERY = [
    "answered", "emoji", "mentions", "merge_turns", "near_duplicates", "signatures", "unescape", "unicode", "urls",
    "whitespace", {"answered": {"first": "cut", "last": "drop"}}, {"language": {"keep": ["en", "tr"]}},
    {"length": {"min_words": 2, "max_characters": 100}}, {"merge_turns": {"join": " "}},
    {"unescape": {"kinds": ["html", "commas"]}}, {"unicode": {"form": "NFKC"}}, {"whitespace": {"within": "single"}},
    {"whitespace": {"within": "flat"}},
]  # fmt: skip


def dialogue(*contents, roles=ROLES):
    messages = [{"role": roles[n % len(roles)], "content": text} for n, text in enumerate(contents)]
    return Dialogue("d", messages)


def changed(step, text):
    """What a step makes of a user's message."""
    record = cleaned(dialogue(text, "Ok"), step)
    return record.messages[0]["content"] if len(record.messages) == 2 else None


def test_every_step_is_tested_on_any_text():
    names = {step if isinstance(step, str) else next(iter(step)) for step in EVERY}
    assert names == set(STEPS)


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("urls", "See https://t.co/AbC12. Now", "See. Now"),
        ("urls", "https://a.b/c?d=1&e", None),
        ("urls", "(www.example.org)", "()"),
        ("urls", "no://web", "no://web"),
        ("urls", "问题1，请看https://a.com，谢谢你的帮助", "问题1，请看，谢谢你的帮助"),
        ("urls", '<a href="https://x.y">z</a> tail', '<a href="">z</a> tail'),
        ("urls", "(https://en.wikipedia.org/wiki/Foo_(bar)) x", "() x"),
        ("mentions", "@张三你好吗", "@张三你好吗"),
        ("unescape", "https://x.com/?a=1&copy=2&reg=3", "https://x.com/?a=1&copy=2&reg=3"),
        ("unicode", "one\x0ctwo", "one\ntwo"),
        ("mentions", "@AppleSupport help @135060 please", "help please"),
        ("mentions", ".@AppleSupport: help @a @b", "help"),
        ("mentions", "me@home.org", "me@home.org"),
        ("signatures", "All the best. ^SH", "All the best."),
        ("signatures", "DM us.^In", "DM us."),
        ("signatures", "Bye ^Clarissa, and hi", "Bye, and hi"),
        ("signatures", "x^2, x^n, 2^n, ^^ and ^1", "x^2, x^n, 2^n, ^^ and ^1"),
        ("emoji", "so 👨‍👩‍👧 happy 🇹🇷!", "so happy !"),
        ("emoji", "1 # * © ® ™ stay", "1 # * © ® ™ stay"),
        ("unescape", "R&amp;D &lt;3 &amp;amp; &", "R&D <3 & &"),
        ("unescape", "a_comma_ b", "a_comma_ b"),
        ({"unescape": {"kinds": ["commas"]}}, "a_comma_ b &amp;", "a, b &amp;"),
        ("unicode", "cafe\u0301\r\nﬁ\x00\ufeff", "café\nﬁ"),
        ({"unicode": {"form": "NFKC"}}, "ﬁ²", "fi2"),
        ("whitespace", "    if a is None:\n        return b  \n\n", "    if a is None:\n        return b"),
        ("whitespace", "- a\n  - b\n\n| c |  d |", "- a\n  - b\n\n| c |  d |"),
        ("whitespace", " \n\t\n  a", "  a"),
        ({"whitespace": {"within": "single"}}, " a  b\u00a0\n\n\tc ", "a b\n\nc"),
        ({"whitespace": {"within": "flat"}}, " a  b\n\n\tc ", "a b c"),
    ],
)
def test_what_goes_and_what_stays(step, text, expected):
    assert changed(step, text) == expected


def test_text_steps_reach_every_text_of_every_kind_of_record():
    pair = cleaned(PreferencePair("p", dialogue("a &amp; b").messages, "&lt;", "&gt;"), "unescape")
    assert texts(pair) == ["a & b", "<", ">"]
    question = cleaned(ChoiceQuestion("q", "&lt;?", ["&amp;", "b"], 0), "unescape")
    assert texts(question) == ["<?", "&", "b"]
    summed = cleaned(Dialogue("d", dialogue("a").messages, summaries=["&amp;", "b"]), "unescape")
    assert texts(summed) == ["a", "&", "b"]


def test_a_message_that_only_was_noise_goes_and_its_neighbours_are_joined():
    record = dialogue("Hi", "Hello", "@you", "DM us", "Ok", "Bye")
    assert said(cleaned(record, "mentions", {"merge_turns": {"join": " "}}).messages) == [
        ("user", "Hi"), ("assistant", "Hello DM us"), ("user", "Ok"), ("assistant", "Bye"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("roles", "options", "expected"),
    [
        ("uaua", {}, "uaua"),
        ("uau", {}, "ua"),
        ("uau", {"last": "drop"}, "does not end with an answer of the assistant"),
        ("aua", {}, "does not begin with the user"),
        ("aua", {"first": "cut"}, "ua"),
        ("suau", {}, "sua"),
        ("saua", {"first": "cut"}, "sua"),
        ("u", {}, "no answer of the assistant to the user"),
        ("au", {"first": "cut"}, "no answer of the assistant to the user"),
        ("", {}, "no answer of the assistant to the user"),
    ],
)
def test_dialogues_begin_with_the_user_and_end_with_an_answer(roles, options, expected):
    names = {"u": "user", "a": "assistant", "s": "system"}
    record = Dialogue("d", [{"role": names[role], "content": role} for role in roles])
    after = cleaned(record, {"answered": options})
    assert (after if isinstance(after, str) else "".join(message["content"] for message in after.messages)) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_words": 3}, "more than 3 words"),
        ({"min_words": 5}, "fewer than 5 words"),
        ({"max_characters": 8}, "more than 8 characters"),
        ({"max_turns": 1}, "more than 1 turns"),
        ({"min_turns": 2, "max_words": 4}, None),
    ],
)
def test_limits_of_length(options, expected):
    after = cleaned(dialogue("one two", "ab cd"), {"length": options})
    assert (after if isinstance(after, str) else None) == expected


def test_languages():
    keep = {"language": {"keep": ["tr"]}}
    assert cleaned(dialogue("Bugün hava çok güzel, değil mi?", "Evet, yürüyüşe çıkalım."), keep).id == "d"
    assert cleaned(dialogue("What a lovely day it is!", "Yes, let us go for a walk."), keep) == "language is en"
    assert cleaned(dialogue("ok", "yes"), keep).id == "d"  # too little to tell


def near_duplicates(*pairs, **options):
    step = STEPS["near_duplicates"]
    apply = step.begin(step.Options(**options))
    return [apply(dialogue(text, "I see."), split) for split, text in pairs]


def test_near_duplicates_are_told_within_a_split():
    text = "Yesterday my old neighbour came home from a very long journey and told us all about the sea and its ships."
    found = near_duplicates(
        ("train", text),
        ("train", text.replace("ships", "boats")),
        ("test", text),
        ("train", "Something else, quite."),
        similarity=0.6,
    )
    assert [isinstance(record, str) for record in found] == [False, True, False, False]
    assert found[1] == "nearly the same as an earlier one"


def test_other_signs_are_another_question():
    found = near_duplicates(("train", "What is 7 + 5 = ?"), ("train", "What is 7 - 5 = ?"))
    assert not any(isinstance(record, str) for record in found)


def test_near_duplicates_of_a_language_without_blanks():
    text = "昨天我的老邻居从很远的地方旅行回来，给我们讲了大海和船的故事，我们都听得很入迷，觉得非常有意思。"
    texts = (text, text.replace("大海", "河流"), text[::-1])
    found = near_duplicates(*(("train", each) for each in texts), similarity=0.5)
    assert [isinstance(record, str) for record in found] == [False, True, False]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"language": {"keep": ["klingon"]}}, "none of the languages that are told apart: .*, tr, "),
        ({"length": {}}, "give at least one of min_words"),
        ({"length": {"min_turns": 3, "max_turns": 2}}, "nothing passes"),
    ],
)
def test_options_that_cannot_be(step, message):
    with pytest.raises(ValueError, match=message):
        cleaned(dialogue("a", "b"), step)


# Text as people and programs write it: noise of every kind beside any character.
PIECES = st.sampled_from(
    ["@a", "^SH", "https://t.co/x", ".", ",", " ", "\n", "&amp;", "&#", "_comma_", "👩", "\u200d", "🏽"]
)
TEXT = st.one_of(st.text(max_size=20), st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=8).map("".join))
TURNS = st.lists(st.tuples(st.sampled_from([*ROLES, "system"]), TEXT), max_size=5)


def letters(record):
    return sorted(c for text in texts(record) for c in text if c.isalnum())


@pytest.mark.parametrize("step", [step for step in EVERY if step != "near_duplicates"], ids=str)
@given(turns=TURNS)
@example(turns=[("user", "^SH^AB"), ("assistant", "@@a@b")])
@example(turns=[("user", "&amp;amp;lt;"), ("assistant", "\ud83d")])
@settings(max_examples=60, deadline=None)
def test_any_text_passes_twice_as_once_and_nothing_is_invented(step, turns):
    before = Dialogue("d", [{"role": role, "content": text} for role, text in turns], {"emotion": "sad"}, "file:1", 2)
    after = cleaned(before, step)
    if isinstance(after, str):
        return
    assert cleaned(after, step) == after
    assert (after.id, after.meta, after.where, after.rows) == (before.id, before.meta, before.where, before.rows)
    # Unescaping and NFKC write the same characters in another way: what they make is looked at above.
    if "unescape" not in str(step) and "unicode" not in str(step):
        left = letters(before)
        for character in letters(after):
            left.remove(character)
