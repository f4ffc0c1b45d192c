"""Benchmarks of training, answers and estimates, small: so that nothing in them is found broken when it is needed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(folder, script, *arguments):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_all_ways_of_training_see_the_same_rows(tmp_path):
    said = run(tmp_path, "training.py", "--small", "--rows", "32", "--repeats", "1")
    found = json.loads((tmp_path / "training.json").read_text())
    ways = ["loragrid", "padded", "trl", "trl-float32", "trl-expert", "trl-expert-bf16"]
    losses = {name: found[name][0]["losses"] for name in ways}
    assert {name: len(steps) for name, steps in losses.items()} == dict.fromkeys(ways, 2)
    # The same rows in the same order, before anything is learnt.
    assert losses["padded"][0] == pytest.approx(losses["loragrid"][0], rel=1e-5)
    for name in ways:
        assert sum(losses[name]) == pytest.approx(sum(losses["loragrid"]), rel=1e-2)
        assert found[name][0]["seconds"] > 0
    assert said.count("\n| ") == len(ways)


@pytest.mark.slow
def test_a_start_and_its_imports_are_measured(tmp_path):
    said = run(tmp_path, "startup.py", "--repeats", "1")
    found = json.loads((tmp_path / "startup.json").read_text())
    assert found["first_step_seconds"][0] > 0
    assert f"imports {found['imports_seconds'][0]:.2f} s" in said


@pytest.mark.slow
def test_all_ways_of_answering_give_the_same_text(tmp_path):
    said = run(tmp_path, "answers.py", "--model", "small", "--prompts", "9", "--repeats", "1")
    found = json.loads((tmp_path / "answers.json").read_text())
    answers = {name: found[name][0]["answers"] for name in ("one-by-one", "alone", "six", "together")}
    assert answers["one-by-one"] == answers["alone"] == {"0": answers["six"]["0"]}
    assert answers["together"] == answers["six"]
    assert {len(texts) for texts in answers["six"].values()} == {9}
    assert len({json.dumps(texts) for texts in answers["six"].values()}) == 6  # each adapter says something else
    assert (said.count("| 9 of 9 |"), said.count("| 54 of 54 |")) == (2, 2)
    assert all(found[name][0]["seconds"] > 0 for name in answers)


@pytest.mark.slow
def test_a_grid_gives_the_same_tables_with_jobs_of_one_and_of_several(tmp_path):
    said = run(tmp_path, "grid.py", "--runs", "4", "--cores", "1")
    found = json.loads((tmp_path / "grid.json").read_text())
    assert [found[name]["jobs"]["train"] for name in ("a job for each", "jobs of several")] == [4, 1]
    assert "; the tables are equal" in said


@pytest.mark.slow
def test_estimates_are_compared_with_real_jobs(tmp_path):
    said = run(tmp_path, "estimates.py", "--calibration", "--only", "c8", "--repeats", "1")
    (row,) = re.findall(r"^\| c8 \|.*$", said, re.M)
    assert len(re.findall(r"[\d.,]+ / [\d.,]+ \([+-]\d+%\)", row)) == 4
