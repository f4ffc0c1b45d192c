"""Benchmarks of training and of estimates, small: so that nothing in them is found broken when figures are wanted."""

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
def test_estimates_are_compared_with_real_jobs(tmp_path):
    said = run(tmp_path, "estimates.py", "--calibration", "--only", "c8", "--repeats", "1")
    (row,) = re.findall(r"^\| c8 \|.*$", said, re.M)
    assert len(re.findall(r"[\d.,]+ / [\d.,]+ \([+-]\d+%\)", row)) == 4
