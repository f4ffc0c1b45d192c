"""How long does a whole study of many tiny runs take, with jobs of several members and with a job for each?

    python benchmarks/grid.py [--runs 200] [--cores 2] [--output grid.json]

The study is made of the demo's data, with a model of 0.2 million parameters that is built before the clock starts. Each
run trains two steps and answers four prompts: what is left is what jobs cost by themselves. Both ways go through
`snakemake --profile cluster/local`, one after the other, in folders of their own, on a machine that should have nothing
else to do; the tables must come out equal, byte for byte. 200 runs with a job for each take over an hour on two cores.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

STUDY = """\
title: Many tiny runs
models:
  nano:
    build: {{corpus: data/demo/corpus.jsonl, vocabulary: 512, hidden: 64, layers: 2, heads: 2, context: 256, steps: 30}}
datasets:
  dialogues:
    source: empathetic_dialogues
    path: data/demo/empathetic_dialogues
    rows: {{train: 16, validation: 4, test: 4}}
recipe: {{batch_size: 4, max_steps: 2, evaluations: 1, max_length: 128, learning_rate: 2e-3}}
grid:
  rank: [2, 4]
seeds: {seeds}
untrained: [nano]
evaluations:
  test:
    decoding: {{max_new_tokens: 8}}
"""

WAYS = {"a job for each": 0, "jobs of several": 30}
"""Minutes of work that a job is given, by what that comes to."""


def prepare(folder: Path, runs: int) -> None:
    """The repository's files, the study, and everything that is made before the first training.

    Args:
        folder: to make.
        runs: how many trainings, an even number.
    """
    for name in ("Snakefile", "workflow", "cluster", "profiles", "config", "envs", "src", "data/demo"):
        place = ROOT / name
        copy = shutil.copytree if place.is_dir() else shutil.copyfile
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(place, folder / name)
    (folder / "config/studies/many.yaml").write_text(STUDY.format(seeds=list(range(runs // 2))), encoding="utf-8")
    start(folder, 2, 30, "--until", "format", "prompts", "preflight")


def start(folder: Path, cores: int, minutes: int, *more: str) -> tuple[float, str]:
    """Seconds of a start of the workflow, and what it says.

    Args:
        folder: the study's.
        cores: jobs at a time.
        minutes: of work that a job is given.
        more: arguments.

    Raises:
        SystemExit: it failed.
    """
    command = [
        sys.executable, "-m", "snakemake", "--profile", "cluster/local", "--cores", f"{cores}", *more,
        "--config", "study=many", f"batch_minutes={minutes}",
    ]  # fmt: skip
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "PYTHONPATH": str(folder / "src")}
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return seconds, done.stdout + done.stderr


def jobs(said: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake has started, from its table of them."""
    table = said.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def main() -> None:
    """Go through the study in both ways, print a table and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="an even number (default: 200)")
    parser.add_argument("--cores", type=int, default=2, help="jobs at a time (default: 2)")
    parser.add_argument("--output", type=Path, default=Path("grid.json"), help="(default: grid.json)")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    tables = set()
    with tempfile.TemporaryDirectory(prefix="loragrid-grid-") as folder:
        prepared = Path(folder, "prepared")
        prepare(prepared, arguments.runs)
        for name, minutes in WAYS.items():
            place = Path(folder, f"{minutes}")
            shutil.copytree(prepared, place)
            seconds, said = start(place, arguments.cores, minutes)
            found[name] = {"seconds": round(seconds, 1), "jobs": jobs(said)}
            tables.add((place / "results/studies/many/comparison.csv").read_bytes())
            print(f"{name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    if len(tables) > 1:
        sys.exit("the tables differ")
    slow, fast = (found[name]["seconds"] for name in WAYS)
    print("| | seconds | a run | train | generate | score | publish |")
    print("|---|---|---|---|---|---|---|")
    for name, way in found.items():
        made = way["jobs"]
        publish = sum(number for rule, number in made.items() if rule.startswith("publish"))
        counts = [made.get(rule, 0) for rule in ("train", "generate", "score")]
        cells = [f"{way['seconds']:.0f}", f"{way['seconds'] / arguments.runs:.1f}", *map(str, counts), f"{publish}"]
        print(f"| {name} | {' | '.join(cells)} |")
    machine = f"{platform.machine()}, {arguments.cores} cores"
    print(f"\n{date.today()}, {machine}; {arguments.runs} runs; {slow / fast:.2f} times as fast; the tables are equal")
    about = {"date": f"{date.today()}", "machine": machine, "runs": arguments.runs, "times_as_fast": slow / fast}
    arguments.output.write_text(json.dumps(about | found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
