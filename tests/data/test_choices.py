"""The prompts of a choice evaluation."""

from dataclasses import asdict

import pytest

from loragrid.data.choices import write_choices
from loragrid.data.sources import cmmlu, turkishmmlu
from loragrid.errors import UserError
from loragrid.files import read_jsonl, write_jsonl


def record(id_, subject, answer=1, choices=("yes", "no")):
    meta = {} if subject is None else {"subject": subject}
    return {"id": id_, "question": f" {id_}? ", "choices": list(choices), "answer": answer, "meta": meta}


@pytest.fixture
def write(tmp_path):
    def write(asked, examples, wording=None, **changes):
        write_jsonl(tmp_path / "test.jsonl", asked)
        write_jsonl(tmp_path / "validation.jsonl", examples)
        settings = {"split": "test", "shots": 1, "rows": None} | changes
        write_choices(tmp_path, tmp_path / "prompts.jsonl", wording=wording or {}, **settings)
        return list(read_jsonl(tmp_path / "prompts.jsonl"))

    return write


def test_a_question_stands_after_the_first_examples_of_its_subject(write):
    asked = [record("a", "art_history"), record("b", "law", 2, ("x", "y", "z"))]
    examples = [record("e", "law", 0), record("f", "art_history"), record("g", "law")]
    first, second = write(asked, examples)
    assert first == {
        "id": "a", "dialogue": "a", "subject": "art_history", "letters": ["A", "B"], "reference": "B",
        "meta": {"subject": "art_history"},
        "messages": [
            {"role": "system",
             "content": "The following are multiple choice questions (with answers) about art history.\n\n"},
            {"role": "user", "content": "f?\nA. yes\nB. no\nAnswer:"},
            {"role": "assistant", "content": "B"},
            {"role": "user", "content": "a?\nA. yes\nB. no\nAnswer:"},
        ],
    }  # fmt: skip
    assert [message["content"] for message in second["messages"]][1:] == [
        "e?\nA. yes\nB. no\nAnswer:", "A", "b?\nA. x\nB. y\nC. z\nAnswer:",
    ]  # fmt: skip
    assert (second["letters"], second["reference"]) == (["A", "B", "C"], "C")


def test_questions_without_a_subject_have_examples_without_one(write):
    (prompt,) = write([record("a", None)], [record("e", "law"), record("f", None)])
    assert prompt["subject"] is None
    assert [message["content"][:2] for message in prompt["messages"]] == ["Th", "f?", "B", "a?"]


@pytest.mark.parametrize(
    ("source", "subject", "begins", "ends"),
    [
        (cmmlu, "agronomy", "以下是关于农学的单项选择题，请直接给出正确答案的选项。\n\n", "a?\nA. yes\nB. no\n答案："),
        (turkishmmlu, "Biology", "Soru: a?", "\nB. no\nCevap:"),
    ],
)
def test_sources_have_words_of_their_own(write, source, subject, begins, ends):
    (prompt,) = write([record("a", subject)], [], asdict(source.WORDING), shots=0)
    assert prompt["messages"][0]["content"].startswith(begins)
    assert prompt["messages"][-1]["content"].endswith(ends)


def test_rows_are_of_each_subject(write):
    asked = [record(f"{subject}{number}", subject) for subject in ("a", "b") for number in range(3)]
    assert [prompt["id"] for prompt in write(asked, [], shots=0, rows=2)] == ["a0", "a1", "b0", "b1"]


def test_a_subject_with_fewer_examples_than_others_is_asked_with_those_it_has(write, capsys):
    """So that CMMLU can be asked, of which five subjects have an example less: it is asked, too."""
    examples = [record("e", "law"), record("f", "law"), record("g", "art")]
    prompts = write([record("a", "law"), record("b", "art")], examples, shots=2)
    assert [len(prompt["messages"]) for prompt in prompts] == [6, 4]
    assert "warning: fewer than 2 examples of 1 of 2 subjects (art: 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "examples", "shots", "said"),
    [
        ([record("a", "law")], [record("e", "law")], 2, r"shots: 2 examples .* fewer of 1 of 1 subjects \(law: 1\)"),
        ([record("a", "law"), record("b", "art")], [record("e", "law")], 1, r"of 1 of 2 subjects \(art: 0\)"),
        ([], [], 0, "there is no question to ask"),
        ([record("a", "law", 0, map(str, range(27)))], [], 0, "a has 27 choices, more than there are letters"),
        ([{"id": "a", "messages": []}], [], 0, "a is no question with choices"),
    ],
)
def test_what_cannot_be_asked(write, tmp_path, asked, examples, shots, said):
    with pytest.raises(UserError, match=said):
        write(asked, examples, shots=shots)
    assert not (tmp_path / "prompts.jsonl").exists()
