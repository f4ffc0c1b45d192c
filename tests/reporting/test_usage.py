"""Figures of memory and speed over the steps of trainings."""

import re
from pathlib import Path

from loragrid.reporting.tabulate import tabulate

FIGURE = Path("results/studies/demo/figures/usage-tiny.ed.svg")


def lines(number, memory=2**30):
    return [
        {"step": step, "epoch": step / 10, "seconds": 0.5, "tokens_per_second": 100.0 + step, "memory_bytes": memory}
        for step in range(1, number + 1)
    ]


def page():
    return Path("results/studies/demo/comparison.html").read_text()


def test_runs_that_have_recorded_what_they_took_are_drawn(demo):
    first, second, *_ = [answers for answers in demo.grid.answers.values() if answers.subject in demo.grid.runs]
    for answers in (first, second):
        demo.train(answers)
    tabulate(demo.grid)
    assert not FIGURE.exists()
    assert "Memory and speed" not in page()
    run = demo.grid.runs[first.subject]
    demo.write_lines(f"{run.folder}/usage.jsonl", lines(20))
    tabulate(demo.grid)
    text = FIGURE.read_text()
    for words in (run.label or run.name, "memory in use (GiB)", "tokens a second", "optimiser step"):
        assert re.search(f">{re.escape(words)}</text>", text), words
    assert 'href="figures/usage-tiny.ed.svg">Memory and speed</a>' in page()
    tabulate(demo.grid)
    assert FIGURE.read_text() == text


def test_what_is_damaged_is_left_out(demo):
    answers = next(answers for answers in demo.grid.answers.values() if answers.subject in demo.grid.runs)
    demo.train(answers)
    demo.write_lines(f"{demo.grid.runs[answers.subject].folder}/usage.jsonl", [{"step": "x"}])
    tabulate(demo.grid)
    assert not FIGURE.exists()
