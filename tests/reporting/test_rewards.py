"""What tables and figures say of runs that learn from preferences."""

import csv
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from loragrid.reporting.tabulate import tabulate

FOLDER = Path("results/studies/demo")
FIGURE = FOLDER / "figures/rewards-tiny.ed.svg"
REWARDS = {"reward_margin": 0.5, "reward_accuracy": 0.75}


def best():
    with (FOLDER / "comparison.csv").open(newline="") as file:
        return [row["best"] for row in csv.DictReader(file)]


def texts(figure):
    svg = ElementTree.fromstring(figure.read_text())  # noqa: S314 - written just now
    return {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}


def preferring(tree, loss, **recipe):
    answers = tree.run(objective="dpo", label=f"by {loss}", **recipe)
    tree.train(answers, loss, **REWARDS)
    return answers


def test_margins_and_accuracies_are_drawn(tree):
    preferring(tree, 0.4)
    preferring(tree, 0.3, rank=8)
    tabulate(tree.grid)
    assert {"margin of the rewards (nats)", "pairs with a margin above 0", "by 0.4", "by 0.3"} <= texts(FIGURE)
    assert "loss (nats per pair of answers)" in texts(FOLDER / "figures/loss-tiny.ed.svg")
    assert 'href="figures/rewards-tiny.ed.svg">Rewards</a>' in (FOLDER / "comparison.html").read_text()
    first = FIGURE.read_bytes()
    tabulate(tree.grid)
    assert FIGURE.read_bytes() == first
    assert best() == ["", "yes"]


def test_where_there_are_none_there_is_no_figure(tree):
    tree.train(tree.run())
    tabulate(tree.grid)
    assert not FIGURE.exists()
    assert "loss (nats per token)" in texts(FOLDER / "figures/loss-tiny.ed.svg")


def test_a_loss_at_another_beta_chooses_nothing(tree):
    preferring(tree, 0.4)
    preferring(tree, 0.3, beta=0.2)
    tabulate(tree.grid)
    assert best() == ["", ""]
