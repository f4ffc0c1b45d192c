"""Choice evaluations in a study: what they may say, and what is in their keys."""

import json
from pathlib import Path

import pytest

from loragrid.errors import StudyError
from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study

ROW = {"question": "q?", "choices": ["a", "b"], "answer": "A"}
STUDY = """
title: Choices
models:
  base: {{id: org/Base-7B, template: chatml}}
datasets:
  chats: {{source: jsonl, path: chats.jsonl, splits: {{validation: 0.1, test: 0.1}}}}
  cmmlu: {{source: cmmlu, train: false}}
  turkish: {{source: turkishmmlu, train: false}}
  own: {{source: jsonl, path: own.jsonl, train: false}}
untrained: [base]
{more}
evaluations:
  {evaluations}
"""


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.jsonl").write_text(json.dumps(ROW) + "\n")
    Path("chats.jsonl").write_text(json.dumps({"prompt": "p", "completion": "c"}) + "\n")

    def opened(*evaluations, more=""):
        file = Path("choices.yaml")
        file.write_text(STUDY.format(evaluations="\n  ".join(evaluations), more=more))
        return open_study(str(file), REGISTRY)

    return opened


def test_categories_are_those_of_the_source_unless_a_study_says_others(opened):
    grid = opened(
        "zh: {kind: choice, dataset: cmmlu}", "tr: {kind: choice, dataset: turkish, shots: 0}",
        "mine: {kind: choice, dataset: own, scores: [{accuracy: {categories: {pets: [cats]}}}]}",
    )  # fmt: skip
    found = {
        answers.evaluation: list(answers.scores["accuracy"]["options"]["categories"])
        for answers in grid.answers.values()
    }
    assert found == {
        "zh": ["stem", "humanities", "social_science", "other", "china"],
        "tr": ["natural_sciences", "mathematics", "language", "social_sciences"],
        "mine": ["pets"],
    }
    assert {answers.subject in grid.untrained for answers in grid.answers.values()} == {True, False}
    assert all(answers.generations is None for answers in grid.answers.values())
    # The examples have to be there, too, where there are any.
    assert {data.source: data.needs for data in grid.clean.values() if data.source != "jsonl"} == {
        "cmmlu": ["validation", "test"], "turkishmmlu": ["test"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("evaluation", "said"),
    [
        (
            "{kind: choice, dataset: chats}",
            "dataset: 'chats' has no questions with choices. Valid: cmmlu, turkish, own.",
        ),
        (
            "{kind: choice, dataset: cmmlu, scores: [rouge]}",
            "scores[0]: 'rouge' needs answers in words, of which a `kind: choice` evaluation has none. Valid: "
            "accuracy.",
        ),
        (
            "{dataset: chats, scores: [accuracy]}",
            "scores[0]: 'accuracy' is of an evaluation of `kind: choice`. Valid: ",
        ),
        ("{kind: choice, dataset: cmmlu, seed: 1}", "seed: unknown key. Valid keys: chat_template, dataset, "),
        (
            "{kind: choice, dataset: cmmlu, scores: [{accuracy: {categories: {stem: []}}}]}",
            "scores[0].accuracy.categories: 'stem' has no subjects",
        ),
    ],
)
def test_what_does_not_fit_is_told_at_its_key(opened, evaluation, said):
    with pytest.raises(StudyError) as raised:
        opened(f"test: {evaluation}")
    (problem,) = raised.value.problems
    assert problem.startswith(f"evaluations.test.{said}")


def test_one_category_means_one_thing_in_all_evaluations(opened):
    other = "own: {{kind: choice, dataset: own, scores: [{{accuracy: {{categories: {{stem: [physics]}}{label}}}}}]}}"
    zh = "zh: {kind: choice, dataset: cmmlu}"
    with pytest.raises(StudyError, match="'accuracy' has other subjects of 'stem' than in 'zh'"):
        opened(zh, other.format(label=""))
    opened(zh, other.format(label=", label: mine"))


def test_published_figures_may_name_categories(opened):
    figure = "published: [{{source: T1, metric: accuracy_{}, value: 0.3, model: base}}]"
    opened("zh: {kind: choice, dataset: cmmlu}", more=figure.format("stem"))
    with pytest.raises(StudyError, match=r"there is no 'accuracy_stems'. Did you mean 'accuracy_stem'"):
        opened("zh: {kind: choice, dataset: cmmlu}", more=figure.format("stems"))


def test_a_chat_counts_where_it_is_used(opened):
    chats = "chats: {kind: {system: Be kind.}, bare: {template: plain}}\ngrid: {chat: [kind, bare]}"

    def asked(more):
        return list(opened(f"zh: {{kind: choice, dataset: cmmlu{more}}}", more=chats).answers.values())

    plain, through_chat = asked(""), asked(", chat_template: true")
    assert len({answers.key for answers in plain}) == 1
    assert len([answers for answers in plain if answers.subject.startswith("results/untrained")]) == 1
    assert len({answers.key for answers in through_chat}) == 2
    assert len([answers for answers in through_chat if answers.subject.startswith("results/untrained")]) == 2


@pytest.mark.parametrize("change", ["shots: 4", "rows: 3", "chat_template: true", "dataset: turkish"])
def test_what_decides_the_result_is_in_the_key(opened, change):
    dataset = "" if change.startswith("dataset") else "dataset: cmmlu, "
    (before, *_) = opened("zh: {kind: choice, dataset: cmmlu}").answers.values()
    (after, *_) = opened(f"zh: {{kind: choice, {dataset}{change}}}").answers.values()
    assert before.key != after.key
