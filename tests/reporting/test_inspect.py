"""`loragrid inspect`: what becomes of single records, before anything is trained or cleaned."""

import json
import re

import pytest
from nano import MODEL, nano_root

from loragrid.cli import main

__all__ = ["nano_root"]

STUDY = """
title: x
models: {{base: {{id: a/b, path: {model}, parameters: 1e9}}}}
datasets:
  own: {{source: jsonl, path: own.jsonl, splits: {{validation: 0.1, test: 0.1}}, steps: [urls, merge_turns, answered]}}
  pairs: {{source: jsonl, path: pairs.jsonl, train: false}}
  quiz: {{source: jsonl, path: quiz.jsonl, train: false}}
  later: {{source: jsonl, path: pairs.jsonl, train: false, steps: [urls]}}
recipe: {{max_length: 30}}
evaluations:
  own: {{}}
  pairs: {{dataset: pairs}}
  quiz: {{dataset: quiz, system: Evaluation.}}
"""


def dialogue(*contents):
    return {"messages": [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]}


@pytest.fixture
def study(tmp_path, monkeypatch, nano_root):
    monkeypatch.chdir(tmp_path)
    rows = [
        dialogue("Hi \x1b[31m<b>", "Hello."), dialogue("See https://t.co/x now", "I see. " * 20), dialogue("Hi"),
        dialogue("Ok", "Yes.", "Bye"),
    ]  # fmt: skip
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"prompt": "Hi", "chosen": "Hey!", "rejected": "Go away."}))
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"question": "2+2?", "choices": ["3", "4"], "answer": "B"}))

    def write(model=nano_root / MODEL):
        (tmp_path / "study.yaml").write_text(STUDY.format(model=model))
        return "study.yaml"

    return write


def test_records_raw_cleaned_and_as_the_model_sees_them(study, capsys, tmp_path):
    assert main(["inspect", study(), "own"]) == 0
    told = capsys.readouterr().out
    assert "own for base: 4 of the first 4 records" in told
    for words in (
        "number 1: dialogue own.jsonl:1, all, own.jsonl:1",
        "changed by urls",
        "the longest",
        "number 3, dropped: dialogue own.jsonl:3",
        "dropped (answered: no answer of the",
        "<|im_start|>assistant",
        "⟦Hello.<|im_end|>⟧",
    ):
        assert words in told, words
    # What a file says steers no terminal.
    assert "\x1b[31m<b>" not in told
    page = (tmp_path / "results/studies/study/inspect/own.html").read_text()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    learnt = "".join(re.findall(r'<span class="learnt">(.*?)</span>', page, re.S))
    assert learnt.startswith("Hello.&lt;|im_end|&gt;")
    assert "even its last answer does not fit max_length=30" in page


def test_pairs_questions_and_prompts(study, capsys):
    name = study()
    assert main(["inspect", name, "pairs"]) == 0
    told = capsys.readouterr().out
    assert "⟦Hey!<|im_end|>⟧" in told
    assert "rejected: Go away.<|im_end|>" in told
    assert main(["inspect", name, "quiz"]) == 0
    told = capsys.readouterr().out
    assert "A. 3" in told
    assert "→ 4" in told
    assert "<|im_start|>system" in told
    assert "Evaluation." in told
    assert "nothing is trained on it" in told


def test_without_a_tokenizer_messages_are_shown_and_it_is_said(study, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    assert main(["inspect", study(tmp_path / "empty"), "own"]) == 0
    told = capsys.readouterr().out
    assert "the tokenizer of base is not there yet" in told
    assert "assistant: Hello." in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["owm"], "has no dataset 'owm'; it has: later, own, pairs, quiz"),
        (["own", "--model", "bass"], "has no model 'bass'; it has: base"),
    ],
)
def test_names_that_are_not_there(study, capsys, arguments, message):
    assert main(["inspect", study(), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_loss_on_every_token_is_shown_as_one(study, tmp_path):
    name = study()
    (tmp_path / name).write_text((tmp_path / name).read_text().replace("max_length: 30", "max_length: 100, mask: all"))
    assert main(["inspect", name, "own", "--records", "1"]) == 0
    page = (tmp_path / "results/studies/study/inspect/own.html").read_text()
    assert "<span>" not in page
    assert '<span class="learnt">' in page


def test_data_that_the_study_does_not_use_yet_can_be_looked_at(study, capsys):
    assert main(["inspect", study(), "later"]) == 0
    told = capsys.readouterr().out
    assert "later for base: 1 of the first 1 records" in told
    assert "Go away." in told
    assert main(["inspect", study(), "latter"]) == 1
    assert "has no dataset 'latter'; it has: later, own, pairs, quiz" in capsys.readouterr().err
