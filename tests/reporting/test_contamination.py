"""What the tables say of questions that were seen in training."""

import csv
from pathlib import Path

import pytest
from objects import make_clean

from loragrid.reporting.tabulate import tabulate
from loragrid.study.grid import Contamination

NUMBERS = {"asked": 12, "overlapping": 3, "same_question": 1, "same_words": 2, "training_records": 5}


@pytest.fixture
def compared(tree):
    """A run that is trained and scored, and the report on its data."""
    for answers in (tree.untrained(), tree.run()):
        if answers.subject in tree.grid.runs:
            tree.train(answers)
        tree.score(answers)
    asked = [{"clean": "ed-1", "split": "test", "rows": None}]
    tree.grid.contamination["ed-k"] = Contamination("ed-k", "k", "ed-1", asked)
    return tree


def rows(name):
    with Path("results/studies/demo", name).open(newline="") as file:
        return list(csv.DictReader(file))


def report(tree, **changes):
    tree.write(
        "results/contamination/ed-k.json",
        {"evaluations": [{"clean": "ed-1", "split": "test", "rows": None, **NUMBERS, **changes, "examples": []}]},
    )


def test_the_share_stands_beside_the_scores_of_the_run(compared):
    report(compared)
    tabulate(compared.grid)
    untrained, tuned = rows("comparison.csv")
    assert (untrained["share_in_training"], tuned["share_in_training"]) == ("", "0.25")
    assert rows("contamination.csv") == [
        {"trained_on": "ed", "data": "ed-1", "evaluation": "test", "asked_about": "ed-1", "split": "test"}
        | {name: str(number) for name, number in NUMBERS.items()}
    ]  # fmt: skip
    page = Path("results/studies/demo/comparison.html").read_text()
    assert (
        "Of what &#39;test&#39; asks, 3 of 12 records overlap with the training data &#39;ed&#39;, 1 of them as "
        "the same question: answers to them may be remembered."
    ) in page


def test_nothing_in_common_is_a_zero_and_no_sentence(compared):
    report(compared, overlapping=0, same_question=0, same_words=0, training_records=0)
    tabulate(compared.grid)
    assert rows("comparison.csv")[1]["share_in_training"] == "0"
    assert "overlap with the training data" not in Path("results/studies/demo/comparison.html").read_text()


@pytest.mark.parametrize("content", [None, "{", '{"evaluations": 5}', '{"evaluations": [{}]}', "[]"])
def test_without_a_report_nothing_is_claimed(compared, content):
    if content is not None:
        compared.write("results/contamination/ed-k.json", {})
        Path("results/contamination/ed-k.json").write_text(content)
    tabulate(compared.grid)
    assert rows("comparison.csv")[1]["share_in_training"] == ""
    assert rows("contamination.csv") == []
    assert Path("results/studies/demo/contamination.csv").read_text().startswith("trained_on,data,evaluation,")


def test_a_parent_s_training_data_counts(compared):
    child = compared.run(rank=4, label="child")
    run = compared.grid.runs[child.subject]
    parent = next(iter(compared.grid.runs))
    compared.grid.clean["other-1"] = make_clean(id="other-1", source="o", slug="o")
    compared.grid.runs[child.subject] = type(run)(**{**vars(run), "parent": parent, "clean": "other-1", "dataset": "o"})
    compared.train(child)
    compared.score(child)
    report(compared)
    tabulate(compared.grid)
    # Nothing is known of its own data: what is known of its parent's is no answer.
    assert [row["share_in_training"] for row in rows("comparison.csv")] == ["", "0.25", ""]
    compared.grid.contamination["other-k"] = Contamination("other-k", "o", "other-1", [])
    compared.write("results/contamination/other-k.json", {"evaluations": []})
    tabulate(compared.grid)
    assert [row["share_in_training"] for row in rows("comparison.csv")] == ["", "0.25", "0.25"]


def test_a_damaged_report_is_told_with_what_to_do(compared):
    compared.write("results/contamination/ed-k.json", {})
    tabulate(compared.grid)
    page = Path("results/studies/demo/comparison.html").read_text()
    assert "results/contamination/ed-k.json is damaged: delete it" in page
