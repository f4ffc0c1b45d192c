"""What the tables and the page say beyond gains: values with intervals, the best run, axes, picks."""

import csv
from pathlib import Path

import numpy as np
import pytest

from loragrid.files import read_json, write_json
from loragrid.reporting.tabulate import tabulate


@pytest.fixture
def grid(tree):
    """Rank 16 is better by ten nats, alpha does nothing; three seeds of each."""
    random = np.random.default_rng(0)
    hard = random.normal(60, 4, tree.dialogues * tree.turns)
    tree.score(tree.untrained(), hard)
    for rank in (8, 16):
        for alpha in (16, 32):
            for seed in (1, 2, 3):
                answers = tree.run(rank=rank, alpha=alpha, seed=seed)
                nats = hard - 10 - 10 * (rank == 16) + random.normal(0, 1) + random.normal(0, 1, hard.size)
                tree.train(answers, 3.0 - rank / 16 + seed / 100)
                tree.score(answers, nats)
    tabulate(tree.grid)
    return tree


def read(name):
    with Path("results/studies/demo", name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_value_has_its_interval(grid):
    values = [row for row in read("values.csv") if row["metric"] == "bits_per_byte"]
    assert len(values) == 13
    for row in values:
        assert float(row["low"]) < float(row["value"]) < float(row["high"])
        assert (row["answers"], row["dialogues"]) == ("24", "12")


def test_runs_are_compared_with_the_best_on_validation_data(grid):
    best = next(row for row in read("comparison.csv") if row["best"])
    rows = [row for row in read("over_best.csv") if row["metric"] == "bits_per_byte"]
    assert len(rows) == 11
    assert best["run"] not in {row["run"] for row in rows}
    assert {row["verdict"] for row in rows if row["run"].startswith("r8-")} == {"worse"}
    assert {f"{float(row['best']):.4f}" for row in rows} == {f"{float(best['bits_per_byte']):.4f}"}


def test_axes_are_judged_over_all_their_pairs(grid):
    effects = {row["axis"]: row for row in read("effects.csv") if row["metric"] == "bits_per_byte"}
    assert effects["rank"]["verdict"] == "better"
    assert effects["alpha"]["verdict"] == "chance"
    assert effects["rank"]["pairs"] == "6"
    page = Path("results/studies/demo/comparison.html").read_text()
    assert "What the axes do" in page


def test_the_page_says_what_a_pick_by_test_score_is_worth(grid):
    page = Path("results/studies/demo/comparison.html").read_text()
    assert "Picking the best of 12 by its test score flatters it" in page


def test_tables_of_the_same_scores_are_made_without_new_comparisons(grid):
    cache = Path("results/comparisons/demo.json")
    before = {file: file.read_bytes() for file in Path("results/studies/demo").glob("*.*")}
    at = cache.stat().st_mtime_ns
    tabulate(grid.grid)
    assert cache.stat().st_mtime_ns == at
    assert {file: file.read_bytes() for file in before} == before


def test_scores_that_were_made_in_another_way_are_not_compared(grid):
    answers = next(each for each in grid.grid.answers.values() if "untrained" in each.subject)
    file = Path(answers.score_file("rouge"))
    content = read_json(file)
    write_json(file, content | {"made": content["made"] | {"tokenizer": "another"}})
    tabulate(grid.grid)
    gains = [row for row in read("gains.csv") if row["metric"] == "rougeL"]
    assert {row["verdict"] for row in gains} == {""}
    assert all("scored in another way than the untrained model" in row["reason"] for row in gains)


def test_what_is_counted_of_answers_is_no_other_way_to_score_them(grid):
    answers = next(each for each in grid.grid.answers.values() if "untrained" in each.subject)
    file = Path(answers.score_file("rouge"))
    content = read_json(file)
    write_json(file, content | {"made": content["made"] | {"counts": {"answers_cut": 3}, "answers_sha256": "0" * 64}})
    tabulate(grid.grid)
    assert all(row["verdict"] for row in read("gains.csv") if row["metric"] == "rougeL")
