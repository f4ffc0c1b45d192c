"""What the report says of the data: rows that there are not, and what a mixture is made of."""

from pathlib import Path

import pytest

from loragrid.reporting.tabulate import tabulate

MIXED = {
    "mixture": {"a": 3, "b": 1},
    "kept": {"train": 40},
    "shares": {"train": {"a": 0.75, "b": 0.25}},
    "short": {"validation": {"b": {"wanted": 9, "kept": 2}}},
    "parts": {"train": {"a": {"kept": 30, "repeats": 0}, "b": {"kept": 10, "repeats": 6}}},
}


@pytest.fixture
def page(tree):
    """The page of a study whose data has this cleaning.json."""

    def page(cleaning):
        answers = tree.run()
        tree.train(answers)
        if cleaning is not None:
            tree.write("data/clean/ed-1/cleaning.json", cleaning)
        tabulate(tree.grid)
        return Path("results/studies/demo/comparison.html").read_text().replace("&#39;", "'")

    return page


def test_fewer_rows_than_asked_for_are_told(page):
    text = page({"short": {"train": {"wanted": 5000, "kept": 3000}}})
    assert "'ed' has 3000 of the 5000 train rows that the study asks for." in text


def test_what_a_mixture_is_made_of_is_told(page):
    text = page(MIXED)
    assert "The 40 training rows of 'ed' are 75.0% a, 25.0% b." in text
    assert "Of 'b' there are 2 of the 9 validation rows that 'ed' asks for; none is repeated." in text
    assert "6 of the 10 training rows of 'b' are repeats." in text


@pytest.mark.parametrize("cleaning", [None, {}, {"short": {}}, [], {"short": []}, {"mixture": {}}, "text"])
def test_nothing_is_said_where_there_is_nothing_to_say_or_to_read(page, cleaning):
    text = page(cleaning)
    assert "asks for" not in text
    assert "training rows of" not in text
