"""How much was cut or left out, and the warnings about it."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from loragrid.reporting.tabulate import tabulate, terminal_table


def column(name):
    with Path("results/studies/demo/comparison.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


def page():
    return Path("results/studies/demo/comparison.html").read_text()


@pytest.fixture
def trained(tree):
    """Runs that are trained and scored, and a way to write into a file of theirs."""
    tree.score(tree.untrained())
    answers = [tree.run(rank=rank) for rank in (4, 8, 16, 32, 64)]
    for each in answers:
        tree.train(each)
        tree.score(each)
    return tree, answers


def add(tree, file, **content):
    tree.write(str(file), json.loads(Path(file).read_text()) | content)


def test_training_rows_that_were_cut_are_those_that_run_json_tells(trained):
    tree, answers = trained
    for each, shortened in zip(answers, (0, 10, 20, 60, 50), strict=True):
        add(tree, f"{each.subject}/run.json", cut={"shortened": shortened, "too_long": 0 if shortened < 60 else 25})
    tree.format()  # which says something else
    tabulate(tree.grid)
    assert column("train_cut") == ["", "0", "0.1", "0.2", "0.68", "0.5"]
    warning = (
        "More than 10 % of the training rows were cut or left out, being longer than max_length: "
        "r32-a32-s42-0000000003 (85 of 125), r64-a32-s42-0000000004 (50 of 100), r16-a32-s42-0000000002 (20 of 100)."
    )
    assert warning in page()
    assert warning in " ".join(terminal_table(tree.grid).split())


def test_of_older_runs_the_formatted_data_tells_as_long_as_it_is_there(trained):
    tree, _ = trained
    tabulate(tree.grid)
    assert set(column("train_cut")) == {""}
    tree.format()
    tabulate(tree.grid)
    assert column("train_cut")[1] == "0.16129"  # 4 shortened and 1 too long, of 30 rows and that one
    assert "(5 of 31) and 2 more. What is learnt" in page()


@pytest.mark.parametrize("cut", [None, {}, {"shortened": "x", "too_long": 1}, [1]])
def test_damage_to_it_stops_nothing(trained, cut):
    tree, answers = trained
    add(tree, f"{answers[0].subject}/run.json", cut=cut)
    tabulate(tree.grid)
    assert set(column("train_cut")) == {""}


def test_prompts_that_were_cut_are_a_share_of_all_where_any_is(trained):
    tree, answers = trained
    tabulate(tree.grid)
    with pytest.raises(KeyError):
        column("prompts_cut")
    file = f"{answers[1].folder}/generation.json"
    asked = json.loads(Path(file).read_text())["answers"]
    add(tree, file, prompts_cut=asked // 2)
    tabulate(tree.grid)
    assert float(column("prompts_cut")[2]) == pytest.approx(asked // 2 / asked)
    warning = "of the prompts were asked without their beginning, being longer than the context: "
    assert f"More than 10 % {warning}" in page()


def test_references_that_were_left_out_are_a_share_of_all_that_were_asked(trained):
    tree, answers = trained
    scored = answers[1].score_file("likelihood")
    content = json.loads(Path(scored).read_text())
    left_out = [{"id": item["id"], "reason": "too long"} for item in content["items"][:6]]
    tree.write(scored, content | {"items": content["items"][6:], "excluded": left_out})
    tabulate(tree.grid)
    assert column("excluded_share") == ["0", "0", "0.25", "0", "0", "0"]
    assert "references were left out, being too long for the model: r8-a32-s42-0000000001 (6 of 24)." in page()


def test_a_run_that_is_asked_twice_is_named_once_for_its_training_data(tree):
    first = tree.run(label="wide")
    tree.train(first)
    add(tree, f"{first.subject}/run.json", cut={"shortened": 50, "too_long": 0})
    place = f"{first.subject}/eval/ten-aa"
    second = tree.grid.answers[place] = dataclasses.replace(first, id=place, evaluation="ten", folder=place)
    for answers, at_limit in ((first, 12), (second, 24)):
        tree.score(answers)
        add(tree, f"{answers.folder}/generation.json", ended_by_length=at_limit)
    tabulate(tree.grid)
    name = "wide (r16-a32-s42-0000000000)"
    assert f"longer than max_length: {name} (50 of 100). What" in page()
    assert f"without an end: {name} in &#39;ten&#39; (24 of 24), {name} in &#39;test&#39; (12 of 24). Their" in page()


def test_where_nothing_much_was_cut_there_is_no_warning(trained):
    tabulate(trained[0].grid)
    assert "More than 10 %" not in page()
    assert "More than 10 %" not in terminal_table(trained[0].grid)
