"""What training data has in common with evaluations, and how it is taken out."""

from pathlib import Path

import pytest

from loragrid.data.contamination import Asked, check_contamination, decontaminate
from loragrid.errors import UserError
from loragrid.files import read_json, read_jsonl, write_json, write_jsonl

THIRTEEN = "one two three four five six seven eight nine ten eleven twelve thirteen"


def dialogue(id_, *contents, system=None):
    messages = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, contents, strict=False)
    ]
    messages = [{"role": "system", "content": system}, *messages] if system else messages
    return {"id": id_, "messages": messages, "meta": {}}


def choice(id_, question, *choices):
    return {"id": id_, "question": question, "choices": list(choices), "answer": 0, "meta": {}}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(folder, train=(), validation=(), test=()):
    for split, records in {"train": train, "validation": validation, "test": test}.items():
        write_jsonl(Path(folder, f"{split}.jsonl"), records)
    write_json(Path(folder, "statistics.json"), {"train": {"meta": {}}})
    return Path(folder)


def found(train, test, rows=None):
    """The report about one evaluation."""
    asked = Asked(write("asked", test=test), "test", rows, "asked-1")
    check_contamination(write("trained", train=train), [asked], Path("report.json"), key="k")
    report = read_json(Path("report.json"))
    assert report["training_records"] == len(train)
    (evaluation,) = report["evaluations"]
    return evaluation


def counts(evaluation):
    return [evaluation[name] for name in ("asked", "overlapping", "same_question", "same_words", "training_records")]


def test_nothing_in_common():
    assert counts(found([dialogue("t", "How are you?", "Fine.")], [dialogue("a", "Who are you?", "Fine.")])) == [
        1, 0, 0, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (
            dialogue("t", "What is the capital of France?", "Paris."),
            dialogue("a", "What is the capital of France?", "?"),
        ),
        (dialogue("t", "what is   the CAPITAL of France", "x"), dialogue("a", "What is the capital of France?", "y")),
        # In the middle of a conversation, asked alone elsewhere.
        (dialogue("t", "Hi.", "Hello.", "Who wrote it?", "He."), dialogue("a", "Who wrote it?", "She.")),
        (dialogue("t", "中国的首都是哪里？", "北京"), choice("a", "中国的首都是哪里", "北京", "上海")),
        (choice("t", "Which one?", "a", "b"), choice("a", "which one", "B", "A")),
        (dialogue("t", "Which is one?\nA. Apple\nB. Leek", "B"), choice("a", "Which is one?", "apple", "leek")),
        (dialogue("t", "İstanbul kaç kişi?", "16"), dialogue("a", "istanbul kaç kişi", "Çok.")),
        (dialogue("t", "ＷＨＡＴ １９４９？", "x"), dialogue("a", "What 1949?", "y")),
        (dialogue("t", "so\u00adft\u200b one?", "x"), dialogue("a", "Soft one", "y")),
        (dialogue("t", "😀", "x"), dialogue("a", "😀 ", "y")),
    ],
    ids=range(10),
)
def test_the_same_question(trained, asked):
    assert counts(found([trained, dialogue("o", "Another?", "Yes.")], [asked, dialogue("p", "No more?", "No.")])) == [
        2, 1, 1, 0, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("trained", "asked"),
    [
        (choice("t", "Which one is true?", "a", "b"), choice("a", "Which one is true?", "c", "d")),
        (dialogue("t", "2+3?", "5"), dialogue("a", "2-3?", "-1")),
        (dialogue("t", "5 > 3", "yes"), dialogue("a", "5 < 3", "no")),
        (dialogue("t", "C?", "yes"), dialogue("a", "C++?", "no")),
        (dialogue("t", "😀", "x"), dialogue("a", "😢", "y")),
    ],
    ids=range(5),
)
def test_another_question(trained, asked):
    assert counts(found([trained], [asked]))[1] == 0


def test_phrases_of_the_data_are_no_trace_of_a_question():
    boilerplate = [dialogue(f"t{number}", f"{THIRTEEN}. Number {number}?", "Yes.") for number in range(11)]
    asked = [dialogue("a", f"{THIRTEEN}. What?", "No.")]
    assert counts(found(boilerplate, asked))[1] == 0
    assert counts(found(boilerplate[:10], asked)) == [1, 1, 0, 1, 10]
    # One record again and again, as in a mixture, is no phrase.
    assert counts(found(boilerplate[:1] * 20, asked)) == [1, 1, 0, 1, 20]


def test_whole_conversations_are_the_same_question_only_as_a_whole():
    asked = [dialogue("a", "Hi.", "Hello.", "I am sad.", "Why?")]
    assert counts(found([dialogue("t", "Hi.", "Good day.")], asked))[1] == 0
    assert counts(found([dialogue("t", "I am sad.", "Oh.")], asked))[1] == 0
    assert counts(found([dialogue("t", "Hi!", "What?", "I am sad", "Oh.")], asked))[1:3] == [1, 1]


def test_thirteen_words_in_a_row_are_enough_and_twelve_are_not():
    twelve = THIRTEEN.rpartition(" ")[0]
    asked = [dialogue("a", "Count!", f"Well: {THIRTEEN}.")]
    assert counts(found([dialogue("t", f"They said {THIRTEEN.upper()}, they did.", "Yes.")], asked)) == [1, 1, 0, 1, 1]
    assert counts(found([dialogue("t", f"They said {twelve}, they did.", "Yes.")], asked))[1] == 0
    # Not across the border of two messages.
    first, rest = THIRTEEN[:20], THIRTEEN[20:]
    assert counts(found([dialogue("t", first, rest)], asked))[1] == 0


def test_thirteen_characters_of_chinese():
    thirteen = "下列关于中国古代诗歌的说法"
    assert len(thirteen) == 13
    asked = [choice("a", f"{thirteen}正确的是", "甲", "乙")]
    assert counts(found([dialogue("t", f"请问，{thirteen}，哪个对？", "甲")], asked)) == [1, 1, 0, 1, 1]
    assert counts(found([dialogue("t", f"请问，{thirteen[:12]}，哪个对？", "甲")], asked))[1] == 0


def test_system_messages_are_no_part_of_it():
    asked = [dialogue("a", "Hi?", "Hello.", system=THIRTEEN)]
    assert counts(found([dialogue("t", "Ho?", "Hello.", system=THIRTEEN)], asked))[1] == 0


def test_only_the_rows_that_are_asked_count():
    train = [dialogue("t", "Second?", "Yes.")]
    test = [dialogue("a", "First?", "Yes."), dialogue("b", "Second?", "Yes.")]
    assert counts(found(train, test, rows=1)) == [1, 0, 0, 0, 0]
    assert counts(found(train, test)) == [2, 1, 1, 0, 1]


def test_examples_show_where_and_what():
    train = [dialogue(f"t{number}", "Same?", "Yes.") for number in range(5)]
    evaluation = found(train, [dialogue("a", "Same?", "No.")])
    assert evaluation["training_records"] == 5
    assert evaluation["examples"] == [
        {"asked": "a", "trained": f"t{number}", "shared": "same"} for number in range(3)
    ]  # fmt: skip


def test_a_copy_under_another_name_with_other_splits_is_seen(tmp_path):
    records = [dialogue(f"r{number}", f"What about {number}?", "Nothing.") for number in range(20)]
    renamed = [{**record, "id": f"x{index}"} for index, record in enumerate(records)]
    assert counts(found(renamed[:15], records[10:]))[:3] == [10, 5, 5]


def removed(train, test, rows=None, needs=("train",)):
    base = write("base", train=train, validation=[dialogue("v", "Same?", "Yes.")], test=[dialogue("w", "W?", "W.")])
    asked = Asked(write("asked", test=test), "test", None, "asked-1")
    decontaminate(base, [asked], Path("out"), rows=rows or {}, seed=0, needs=needs)
    return [line["id"] for line in read_jsonl(Path("out/train.jsonl"))]


def test_what_overlaps_is_taken_out_of_training_data_only():
    train = [dialogue("t1", "Same?", "Yes."), dialogue("t2", "Other?", "Yes."), dialogue("t3", THIRTEEN, "Yes.")]
    test = [dialogue("a", "Same?", "No."), dialogue("b", "Count!", THIRTEEN)]
    assert removed(train, test) == ["t2"]
    for split in ("validation", "test"):
        assert Path("out", f"{split}.jsonl").read_bytes() == Path("base", f"{split}.jsonl").read_bytes()
    cleaning = read_json(Path("out/cleaning.json"))
    assert cleaning["kept"] == {"train": 1, "validation": 1, "test": 1}
    assert cleaning["dropped"]["train"] == {
        "also in an evaluation": {"count": 2, "rows": 2, "examples": ["t1", "t3"]}
    }  # fmt: skip
    # Looked at again, nothing is left in common.
    check_contamination(Path("out"), [Asked(Path("asked"), "test", None, "a")], Path("r.json"), key="k")
    assert counts(read_json(Path("r.json"))["evaluations"][0]) == [2, 0, 0, 0, 0]


def test_rows_are_chosen_among_those_that_are_left():
    train = [dialogue("t0", "Same?", "Yes.")] + [dialogue(f"t{n}", f"Question {n}?", "Yes.") for n in range(1, 9)]
    kept = removed(train, [dialogue("a", "Same?", "No.")], rows={"train": 3})
    assert len(kept) == 3
    assert "t0" not in kept
    assert set(kept) < set(removed(train, [dialogue("a", "Same?", "No.")], rows={"train": 5}))
    removed(train, [dialogue("a", "Same?", "No.")], rows={"train": 50})
    assert read_json(Path("out/cleaning.json"))["short"] == {"train": {"wanted": 50, "kept": 8}}


def test_nothing_left_to_train_on_is_told():
    with pytest.raises(UserError, match=r"base: each of its 1 training records overlaps .* for example in:\n  - same"):
        removed([dialogue("t", "Same?", "Yes.")], [dialogue("a", "Same?", "No.")])
    assert not Path("out").exists()
