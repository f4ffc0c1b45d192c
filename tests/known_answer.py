"""A study whose answer is known: one axis of its grid matters, the other one does not.

The learning rate decides whether anything is learnt in a few steps. Whether 10 or 11 % of the inputs are dropped does
not, beyond chance. A pipeline that mixes up runs, rows or pairs, or takes the chance of training for an effect, gets
one of them wrong.
"""

import json
import random
from pathlib import Path

from workspace import Workspace

WORDS = (
    "apple", "river", "stone", "cloud", "garden", "window", "letter", "music", "bread", "winter", "summer", "paper",
    "coffee", "island", "forest",
)  # fmt: skip
MATTERS, DOES_NOT = "learning_rate", "dropout"


def write(workspace: Workspace, datasets: int, first: int = 0) -> None:
    """Write the study `known` with so many generated datasets into a workspace."""
    names = [f"d{number}" for number in range(first, first + datasets)]
    for name in names:
        _write_data(workspace.folder / f"data/known/{name}.jsonl", name)
    nano = workspace.yaml("config/studies/nano.yaml")
    workspace.study(
        "known",
        title="A study whose answer is known",
        datasets={
            name: {"source": "jsonl", "path": f"data/known/{name}.jsonl", "splits": {"test": 0.4, "validation": 0.1}}
            for name in names
        },
        recipe=nano["recipe"] | {"rank": 2, "alpha": 4, "max_steps": 12, "evaluations": 1},
        grid={MATTERS: [1e-5, 1e-2], DOES_NOT: [0.10, 0.11]},
        seeds=[1, 2, 3],
        evaluations={"test": {"scores": ["likelihood"]}},
    )


def effects(workspace: Workspace) -> list[dict[str, str]]:
    """The rows of effects.csv in bits per byte."""
    import csv

    with (workspace.folder / "results/studies/known/effects.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == "bits_per_byte"]


def _write_data(file: Path, name: str) -> None:
    draw = random.Random(name)
    style = [f"{draw.choice(WORDS)} and {draw.choice(WORDS)}, my friend" for _ in range(3)]
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(100):
        asked = f"{number}: what about the {draw.choice(WORDS)} and the {draw.choice(WORDS)} of {draw.choice(WORDS)}?"
        answer = f"It is {draw.choice(style)}, {draw.choice(WORDS)}."
        rows.append({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
