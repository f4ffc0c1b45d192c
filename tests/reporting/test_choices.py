"""Accuracy of choices in the tables."""

import csv
from pathlib import Path

import pytest
from objects import make_answers, make_prompts

from loragrid.files import read_json, write_json
from loragrid.reporting.tabulate import tabulate, terminal_table

CATEGORIES = {"zh": {"one": ["law"], "two": ["art", "law", "sea"], "three": ["zoo"]}, "tr": {}}
SUBJECTS = ("law", "art")


def table(tree, name):
    with Path(f"{tree.grid.folder}/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def choices(tree):
    """An untrained model with half of the answers right, and a run with all of them; in two evaluations."""
    asked = [tree.untrained(), tree.run(rank=8, label="tuned")]
    tree.grid.answers.clear()
    for evaluation, categories in CATEGORIES.items():
        tree.grid.prompts[f"{evaluation}-1"] = make_prompts(id=f"{evaluation}-1", clean="ed-1", choice={"shots": 5})
        tree.write_lines(tree.grid.prompts[f"{evaluation}-1"].file, [])
        for before in asked:
            score = {
                "name": "accuracy", "label": None, "version": 1, "place": "model", "needs": [], "with_prompt": False,
                "options": {"categories": categories} if categories else {}, "key": evaluation[0] * 64,
            }  # fmt: skip
            answers = make_answers(
                subject=before.subject, model=before.model, precision="32bit", dataset="ed", evaluation=evaluation,
                prompts=f"{evaluation}-1", folder=f"{before.subject}/eval/{evaluation}-1", in_chat=False,
                scores={"accuracy": score}, decoding={},
            )  # fmt: skip
            tree.grid.answers[answers.id] = answers
            is_run = before.subject in tree.grid.runs
            tree.score_file(answers, "accuracy", [
                {"id": f"{subject}{number}", "dialogue": f"{subject}{number}", "groups": {"subject": subject},
                 "correct": int(is_run or number % 2), "log_likelihoods": [-1.0, -2.0], "shots": 5}
                for subject in SUBJECTS for number in range(20)
            ])  # fmt: skip
    tree.train(asked[1])
    tree.grid.published = [
        {"source": "T1", "model": "tiny", "dataset": None, "subject": "untrained", "where": {}, "value": 0.25,
         "metric": "accuracy_one"}
    ]  # fmt: skip
    tabulate(tree.grid)
    return tree


def test_each_evaluation_has_its_own_categories(choices):
    rows = {(row["evaluation"], row["run"] == "untrained"): row for row in table(choices, "comparison")}
    assert {row["status"] for row in rows.values()} == {"done"}
    untrained, tuned = rows["zh", True], rows["zh", False]
    assert [untrained[f"accuracy{part}"] for part in ("", "_by_subject", "_one", "_two", "_three")] == [
        "0.5", "0.5", "0.5", "0.5", "",
    ]  # fmt: skip
    assert tuned["accuracy_two"] == "1"
    assert rows["tr", False]["accuracy"] == "1"
    assert rows["tr", False]["accuracy_one"] == ""
    # What is printed elsewhere stands beside what it is about.
    assert untrained["accuracy_one_published"] == "0.25 (T1)"
    assert rows["tr", True]["accuracy_one_published"] == ""


def test_gains_are_over_questions(choices):
    gains = {(row["evaluation"], row["metric"]): row for row in table(choices, "gains")}
    for metric in ("accuracy", "accuracy_by_subject", "accuracy_one", "accuracy_two"):
        row = gains["zh", metric]
        assert (row["gain"], row["dialogues"], row["verdict"]) == ("0.5", "40", "better")
        assert 0 < float(row["low"]) < 0.5 < float(row["high"]) < 1
    assert ("zh", "accuracy_three") not in gains
    assert ("tr", "accuracy_one") not in gains


def test_the_table_in_a_terminal_has_the_accuracy(choices):
    shown = terminal_table(choices.grid)
    assert "tiny · ed · zh" in shown
    assert "+0.500 [" in shown


def test_questions_with_fewer_examples_are_a_column_and_a_warning(choices):
    for answers in choices.grid.answers.values():
        file = Path(answers.score_file("accuracy"))
        content = read_json(file)
        content["made"] = {**content["made"], "counts": {"fewer_examples": 10}}
        write_json(file, content)
    tabulate(choices.grid)
    assert {row["fewer_examples"] for row in table(choices, "comparison")} == {"0.25"}
    page = Path(choices.grid.folder, "comparison.md").read_text()
    assert "of the questions were asked with fewer examples" in page


def test_the_verdict_on_an_evaluation_is_about_a_metric_that_it_has(choices):
    page = Path(choices.grid.folder, "comparison.md").read_text()
    assert "yet: ." not in page
    assert "1.000 accuracy, the untrained model 0.500: a gain of 0.500" in page
