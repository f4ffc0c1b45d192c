"""The figure of row lengths."""

import dataclasses
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from loragrid.reporting.tabulate import tabulate

FOLDER = Path("results/studies/demo")
FIGURE = FOLDER / "figures/lengths-tiny.ed.svg"
LINK = 'href="figures/lengths-tiny.ed.svg">Token lengths</a>'


def shown():
    """The texts of the figure."""
    svg = ElementTree.fromstring(FIGURE.read_text())  # noqa: S314 - written just now
    return [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]


def page():
    return (FOLDER / "comparison.html").read_text()


def test_lengths_of_both_splits_and_where_they_are_cut(demo):
    demo.format(max_length=200)
    tabulate(demo.grid)
    texts = shown()
    assert {"rows · train", "rows · validation", "max_length 200"} <= set(texts)
    (note,) = [text for text in texts if "training rows" in text]
    assert note.startswith("30 training rows, 4 of them without their oldest turns; 1 more were too long.")
    assert LINK in page()
    first = FIGURE.read_bytes()
    tabulate(demo.grid)
    assert FIGURE.read_bytes() == first


def test_the_same_lengths_are_drawn_elsewhere_where_the_bins_are_others(demo):
    demo.format()
    tabulate(demo.grid)
    first = FIGURE.read_bytes()
    demo.format(histograms={"rows": {"19-22": 10, "23-26": 21}})
    tabulate(demo.grid)
    assert FIGURE.read_bytes() != first


def test_of_pairs_each_answer_is_drawn(demo):
    demo.format(histograms={"chosen": {"23-26": 20}, "rejected": {"19-22": 20}})
    tabulate(demo.grid)
    assert {"chosen · train", "chosen · validation", "rejected · train", "rejected · validation"} <= set(shown())


def test_data_that_is_formatted_in_several_ways_is_told_apart(demo):
    demo.format(max_length=200)
    demo.format("nano/other", max_length=100, chat={**demo.grid.formatted["nano/inline"].chat, "name": "$kind_$"})
    folder = list(demo.grid.runs)[-1]
    demo.grid.runs[folder] = dataclasses.replace(demo.grid.runs[folder], formatted="nano/other")
    tabulate(demo.grid)
    texts = shown()
    assert "chat of the model, max_length 200 · rows · train" in texts
    assert "chat $kind_$, max_length 100 · rows · train" in texts
    assert {"max_length 200", "max_length 100"} <= set(texts)


def test_without_the_formatted_data_there_is_no_figure(demo):
    formatted = demo.format()
    tabulate(demo.grid)
    assert FIGURE.exists()
    Path(formatted.folder, "format.json").unlink()
    tabulate(demo.grid)
    assert not FIGURE.exists()
    assert LINK not in page()
    assert "Loss curves</a>" in page()


@pytest.mark.parametrize("content", ["{", {"splits": {"train": {"rows": 3}, "validation": {"rows": 1}}}, []])
def test_what_does_not_tell_lengths_is_left_out(demo, content):
    formatted = demo.format()
    demo.write(f"{formatted.folder}/format.json", content)
    tabulate(demo.grid)
    assert not FIGURE.exists()
