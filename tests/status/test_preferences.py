"""Runs that learn from preferences, and what they are compared with, which comes first."""

from pathlib import Path

import pytest

STUDY = """
title: Preferences
models: {base: {id: org/base, revision: abc, parameters: 7e9}}
datasets: {pairs: {source: human_like_dpo, splits: {validation: 0.1, test: 0.1}}}
recipe: {method: lora, objective: dpo}
grid: {beta: [0.1, 0.2]}
seeds: [1]
"""


@pytest.fixture
def place(place_of):
    return place_of(STUDY)


@pytest.fixture
def compared(place):
    (found,) = place.grid.log_probabilities.values()
    return found


def test_both_wait_for_what_they_are_compared_with(place, compared, process):
    assert place.cell(place.first) == "waiting"
    place.attempt(compared, pid=process.pid)
    place.standing(compared, "pairs", 10, 40)
    for run in (place.first, place.second):
        assert place.cell(run) == "first its pairs: running 10/40 pairs, 5 min left"


def test_what_failed_there_is_told_with_the_runs(place, compared):
    place.fail(compared, "log_probabilities", "the disk is full")
    assert place.cell(place.first) == "first its pairs: failed: the disk is full"
    assert "log_probabilities" in place.loragrid("failures", "small")


def test_once_they_are_there_the_training_counts(place, compared, process):
    place.write(Path(compared.file))
    assert place.cell(place.first) == "waiting"
    place.attempt(place.first, pid=process.pid)
    assert place.cell(place.first) == "running, loading"
