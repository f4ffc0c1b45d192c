"""What is read of a dialogue: stopwords and old messages."""

import hashlib
from collections import Counter

import pytest
import rjieba
import stopwordsiso

from loragrid.data.context import in_context

SYSTEM = {"role": "system", "content": "You are to be kind."}


def dialogue(*texts):
    """Messages of user and model in turn, the last one the user's."""
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def history(text, language):
    """What a message before the one that is asked becomes."""
    first, *rest = in_context(dialogue(text, "Yes.", "What now?"), stopwords="remove", language=language)
    assert [message["role"] for message in rest] == ["assistant", "user"]
    return first["content"]


@pytest.mark.parametrize(
    ("language", "text", "left"),
    [
        # Case does not matter, and the signs written onto a word go with it.
        ("en", "My dog, Rex, ran after THE cat. And then: sad!", "dog, Rex, cat. sad!"),
        # Contractions are words of the list, with either apostrophe; what only looks like one is not.
        ("en", "I'm lonely. I don’t sleep; we'll divorce. My dog's wet", "lonely. sleep; divorce. dog's wet"),
        # What stands by itself and is no word stays, and so does what only begins with a stopword.
        ("en", "and 🙂 not-so-happy @ the office", "🙂 not-so-happy @ office"),
        # Lines stay lines; one of stopwords goes.
        ("en", "Dogs bark.\nAnd you?\nCats  purr.\n\nBirds sing.", "Dogs bark.\nCats purr.\n\nBirds sing."),
        # The capital of ı is I, and that of i is İ.
        ("tr", "İÇİN ve ASLINDA köpeğim Ankara'da, çünkü kapı açıktı", "köpeğim Ankara'da, kapı açıktı"),
        # Words, not characters: 上 is a stopword, and 上海 a city. Signs of the list go, too.
        ("zh", "我在上海的工厂上班，感到很焦虑。", "上海工厂上班感到焦虑"),
        ("zh", "我买了 iPhone 手机\n他不知道", "买 iPhone 手机\n知道"),
    ],
)  # fmt: skip
def test_stopwords_go_from_the_history(language, text, left):
    assert history(text, language) == left


def test_what_is_asked_and_the_systems_message_stay_as_they_are():
    messages = [SYSTEM, *dialogue("The dog ran off.", "Did the dog bark?", "It was after the storm, I think.")]
    read = in_context(messages, stopwords="remove", language="en")
    assert [message["content"] for message in read[1:-1]] == ["dog", "dog bark?"]
    assert (read[0], read[-1]) == (messages[0], messages[-1])
    assert messages[1]["content"] == "The dog ran off."
    alone = dialogue("It is the only one.")
    assert in_context(alone, stopwords="remove", language="en") == alone


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "How are you? :)"), ("tr", "Ama  neden?"), ("zh", "那怎么办呢？"), ("en", ""), ("en", "…")],
)
def test_a_message_of_stopwords_alone_stays_whole(language, text):
    assert history(text, language) == text


def test_what_went_is_counted():
    counts = Counter()
    messages = dialogue("The dog ran off.", "How are you?", "Lonely evenings", "...", "And now?")
    in_context(messages, stopwords="remove", language="en", counts=counts)
    assert counts == {"messages": 4, "words": 9, "removed": 3, "whole": 1}


@pytest.mark.parametrize(
    ("turns", "left"), [(None, "01234"), (9, "01234"), (5, "01234"), (4, "234"), (3, "234"), (2, "4"), (1, "4")]
)
def test_the_newest_messages_are_read_and_begin_with_the_user(turns, left):
    messages = dialogue(*"01234")
    assert in_context(messages, turns=turns) == [message for message in messages if message["content"] in left]
    assert in_context([SYSTEM, *messages], turns=turns)[0] == SYSTEM
    assert len(in_context([SYSTEM, *messages], turns=turns)) == len(left) + 1


def test_both_together():
    messages = dialogue("old", "older", "The dog ran off.", "Did the dog bark?", "And now?")
    read = in_context(messages, stopwords="remove", language="en", turns=3)
    assert [message["content"] for message in read] == ["dog", "dog bark?", "And now?"]


def test_lists_and_words_are_those_that_prompts_were_made_with():
    """Where this changes, the same context leaves other text: raise CONTEXT_VERSION with it."""
    words = "\n".join(word for language in ("en", "tr", "zh") for word in sorted(stopwordsiso.stopwords(language)))
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "7e0aa90308fe24134534aae38294bffa82c0bd7e3e8666045c27d168f86965f6"
    )
    assert rjieba.cut("我在上海的工厂上班，感到很焦虑") == [
        "我",
        "在",
        "上海",
        "的",
        "工厂",
        "上班",
        "，",
        "感到",
        "很",
        "焦虑",
    ]
