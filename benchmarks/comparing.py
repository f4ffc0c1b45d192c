"""How long do the comparisons of a large study take, fresh and from the cache?

    python benchmarks/comparing.py [--runs 2000] [--dialogues 100]

Runs that differ by rank, alpha, learning rate and seed, with made-up scores of all metrics, are compared with the
untrained model and the best run; then intervals of all values, the effects of all axes, the bias of picking the best.
"""

import argparse
import math
import os
import platform
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np

from loragrid.comparing.cache import Cache
from loragrid.comparing.collect import Results, Row, Score
from loragrid.comparing.effects import effects
from loragrid.comparing.gains import gains, gains_over_best
from loragrid.comparing.selection import selection
from loragrid.comparing.values import intervals
from loragrid.metrics import COLUMNS
from loragrid.study.grid import Answers, Clean, Grid, ModelEntry, Run, Untrained
from loragrid.study.recipe import Recipe

CHAT = {"name": None, "template": None, "template_key": None, "system": None, "arguments": {}, "date": "2024-07-26",
        "end_token": "text"}  # fmt: skip


def scores(random: np.random.Generator, hard: np.ndarray, skill: float) -> dict[str, Score]:
    """Made-up scores of all metrics: dialogues differ in how hard they are, and the better the skill the better all."""
    number = len(hard)
    dialogues = tuple(f"d{index:05}" for index in range(number))
    one = np.ones(number)
    noisy = hard + random.normal(0, 0.2, number) - skill
    nats, size = 40 * np.exp(0.3 * noisy), 40 * np.exp(0.5 * hard)
    answer = random.poisson(20, number) + 4.0
    totals = np.stack([answer - order for order in range(4)], axis=1)
    share = 0.5 / (1 + np.exp(noisy))
    matches = random.binomial(totals.astype(int), share[:, None] ** np.arange(1, 5)).astype(float)
    sums = {
        "perplexity": np.column_stack([nats, size / 4]),
        "bits_per_byte": np.column_stack([nats, math.log(2) * size]),
        "sacrebleu": np.column_stack([answer, answer, matches, totals]),
    } | {name: np.column_stack([share, one]) for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")}
    return {
        name: Score(float(COLUMNS[name].value(value.sum(axis=0))), value, dialogues, "items", number)
        for name, value in sums.items()
    }


SCORES = {
    name: {"name": name, "label": None, "version": 1, "options": {}, "place": "cpu", "key": "k"}
    for name in ("likelihood", "rouge", "sacrebleu")
}


def study(runs: int, dialogues: int) -> Results:
    """A study of so many runs, a multiple of 40, and one untrained model."""
    random = np.random.default_rng(1)
    hard = random.normal(0, 1, dialogues)
    grid = Grid("many", "many.yaml", "Many runs", "")
    grid.clean["c"] = Clean("c", "c", "c", "r", "r", "inline", 1, {}, [], [], {}, {}, 0)
    grid.models["m"] = ModelEntry("m", "m", "m", "m", "m", None, None, None, "nf4", None, 8, 1, False, "auto")
    rows = []

    def row(subject: Run | Untrained, skill: float, trained: dict) -> None:
        answers = Answers(
            f"{subject.folder}/eval", subject.folder, "test", "m", "nf4", "d", CHAT, "p", {}, 0, "k",
            SCORES, f"{subject.folder}/eval",
        )  # fmt: skip
        grid.answers[answers.id] = answers
        rows.append(Row(subject, answers, trained=trained, scores=scores(random, hard, skill)))

    row(Untrained("m", "m", "nf4", "untrained"), 0.0, {})
    recipes = product([4, 8, 16, 32], [8, 16, 32, 64, 128], [1e-4, 2e-4], range(runs // 40))
    for number, (rank, alpha, rate, seed) in enumerate(recipes):
        recipe = Recipe(rank=rank, alpha=alpha, learning_rate=rate)
        run = Run(
            f"r{number}", f"{number}", None, "m", "d", "c", "f", "nf4", CHAT, recipe, seed, None, None, f"r{number}"
        )
        grid.runs[run.folder] = run
        skill = 0.3 + 0.02 * math.log2(rank) + random.normal(0, 0.02)
        row(run, skill, {"loss": {"validation": 2 - skill, "best_validation": 2 - skill}})
    return Results(grid, rows)


def main() -> None:
    """Time everything twice, and check that the second time gives the same."""
    parser = argparse.ArgumentParser(description="Time the comparisons of a large study, fresh and from the cache.")
    parser.add_argument("--runs", type=int, default=2000, help="a multiple of 40 (default: 2000)")
    parser.add_argument("--dialogues", type=int, default=100, help="dialogues of the test set (default: 100)")
    arguments = parser.parse_args()
    print(
        f"{arguments.runs:,} runs × {len(COLUMNS)} metrics × {arguments.dialogues} dialogues; "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    parts = {
        "against the untrained model": gains, "against the best run": gains_over_best, "intervals of values": intervals,
        "effects of axes": effects,
    }  # fmt: skip
    results = study(arguments.runs, arguments.dialogues)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "comparisons.json")
        found = []
        for name in ("fresh", "cached"):
            begun = time.perf_counter()
            cache = Cache(file)
            print(f"{name}:\n  {time.perf_counter() - begun:8.2f} s  reading the cache")
            made = {}
            for part, make in parts.items():
                begun = time.perf_counter()
                made[part] = make(results, cache)
                print(f"  {time.perf_counter() - begun:8.2f} s  {part}", flush=True)
            begun = time.perf_counter()
            cache.save()
            print(f"  {time.perf_counter() - begun:8.2f} s  writing it ({file.stat().st_size / 1e6:.1f} MB)")
            found.append(made)
        assert repr(found[0]) == repr(found[1])
    begun = time.perf_counter()
    selection(results)
    print(f"{time.perf_counter() - begun:.2f} s for the bias of picking the best, which is not cached")


if __name__ == "__main__":
    main()
