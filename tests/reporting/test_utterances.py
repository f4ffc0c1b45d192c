"""What changes with the number of utterances that a model reads: the table and the figure."""

import csv
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from loragrid.reporting.tabulate import tabulate
from loragrid.scoring.file import write_score

FOLDER = Path("results/studies/demo")
FIGURE = FOLDER / "figures/utterances-tiny.ed.svg"
CONTEXT = 100


def table():
    with (FOLDER / "utterances.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def shown():
    """The texts of the figure."""
    svg = ElementTree.fromstring(FIGURE.read_text())  # noqa: S314 - written just now
    return {element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")}


def score(answers, nats, each, *, context=CONTEXT, lengths=(1, 3, 3)):
    """Likelihoods of references after prompts of some lengths in utterances, of `each` tokens an utterance."""
    items = [
        {"id": f"d{number}", "dialogue": f"d{number}", "nats": nats * utterances, "tokens": 10, "bytes": 40,
         "utterances": utterances, "prompt_tokens": each * utterances + number}
        for number, utterances in enumerate(lengths)
    ]  # fmt: skip
    file = Path(answers.score_file("likelihood"))
    write_score(file, answers.scores["likelihood"], items, made={"counts": {"context": context}})


@pytest.fixture
def asked(tree):
    """An untrained model and a run, with and without stopwords."""
    whole = [tree.untrained(), tree.run(label="$tuned$")]
    tree.train(whole[1])
    for answers, nats in zip(whole, (10.0, 5.0), strict=True):
        answers = replace(answers, decoding={"max_new_tokens": 20})
        folder = f"{answers.subject}/eval/bare-bb"
        bare = replace(answers, id=folder, folder=folder, evaluation="bare")
        for each in (answers, bare):
            tree.grid.answers[each.id] = each
        score(answers, nats, 25)
        score(bare, nats, 10)
    return tree


def test_each_number_of_utterances_has_a_row(asked):
    tabulate(asked.grid)
    rows = table()
    assert [(row["label"], row["evaluation"], row["utterances"], row["answers"]) for row in rows] == [
        (label, evaluation, utterances, answers)
        for label, evaluation in (("", "test"), ("", "bare"), ("$tuned$", "test"), ("$tuned$", "bare"))
        for utterances, answers in (("1", "1"), ("3", "2"))
    ]  # fmt: skip
    first, second, *_ = rows
    assert float(first["perplexity"]) == pytest.approx(math.exp(1), rel=1e-5)
    assert float(second["perplexity"]) == pytest.approx(math.exp(3), rel=1e-5)
    # Prompts of 76 and 77 tokens, and 80 for each before an answer of 20: at 25.5 an utterance, three and a bit.
    assert (second["prompt_tokens"], second["prompt_room"], second["share_fitting"]) == ("76.5", "80", "1")
    assert (second["utterances_fitting"], rows[3]["utterances_fitting"]) == ("3", "7")


def test_prompts_that_do_not_fit_are_a_share(asked):
    answers = next(iter(asked.grid.answers.values()))
    score(answers, 10.0, 25, context=96)
    tabulate(asked.grid)
    assert [(row["share_fitting"], row["utterances_fitting"]) for row in table()[:2]] == [("1", "3"), ("0.5", "2")]


def test_without_a_limit_everything_fits(asked):
    for answers in asked.grid.answers.values():
        score(answers, 10.0, 25, context=None)
    tabulate(asked.grid)
    assert {(row["prompt_room"], row["share_fitting"], row["utterances_fitting"]) for row in table()} == {("", "", "")}
    assert FIGURE.exists()


def test_perplexity_and_prompts_are_drawn(asked):
    tabulate(asked.grid)
    lines = {f"{who} · {evaluation}" for who in ("untrained", "$tuned$") for evaluation in ("test", "bare")}
    labels = {"perplexity", "tokens of a prompt", "utterances that would fit", "answers", "utterances of a prompt"}
    assert lines | labels <= shown()
    page = (FOLDER / "comparison.html").read_text()
    assert 'href="figures/utterances-tiny.ed.svg">Over the course of dialogues</a>' in page
    first = FIGURE.read_bytes()
    tabulate(asked.grid)
    assert FIGURE.read_bytes() == first


def test_prompts_of_one_length_are_in_the_table_and_not_drawn(asked):
    for answers in asked.grid.answers.values():
        score(answers, 10.0, 25, lengths=(3, 3))
    tabulate(asked.grid)
    assert [row["answers"] for row in table()] == ["2"] * 4
    assert not FIGURE.exists()


def test_scores_from_before_utterances_were_counted_have_no_rows(demo):
    tabulate(demo.grid)
    assert table() == []
    assert not FIGURE.exists()
