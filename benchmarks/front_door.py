"""How much slower than a bare Snakefile of the same shape is the front door (`snakemake -n`) with many runs?

    python benchmarks/front_door.py [--runs 2000] [--repeats 3]

Both are timed in one go, alternating, in a folder of their own. The ratio of the medians is what counts, since seconds
differ from machine to machine; that of processor time hardly depends on what else the machine does. The aim is a ratio
of at most 1.5.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

STUDY = """\
title: Many runs
models:
  m: {{id: example/model, parameters: 7e9}}
datasets:
  letters: {{source: empathetic_dialogues}}
grid:
  rank: [4, 8, 16, 32]
  alpha: [8, 16, 32, 64, 128]
seeds: {seeds}
untrained: [m]
"""

PROFILE = ROOT / "profiles/default"


class Seconds(NamedTuple):
    """How long a command takes, by the clock and by the processor time that it uses."""

    elapsed: float
    processor: float


def prepare(folder: Path, runs: int) -> dict[str, list[str]]:
    """Write the study and what the bare workflow reads.

    Args:
        folder: an empty folder, in which both are started.
        runs: how many trainings, a multiple of 20.

    Returns:
        The command of each workflow by name.
    """
    shutil.copytree(ROOT / "config", folder / "config")
    (folder / "many.yaml").write_text(STUDY.format(seeds=list(range(runs // 20))), encoding="utf-8")
    (folder / "bare.yaml").touch()
    (folder / "bare.json").write_text(json.dumps({"runs": runs}), encoding="utf-8")
    snakemake = [sys.executable, "-m", "snakemake", "--dry-run", "--workflow-profile", str(PROFILE)]
    return {
        "loragrid": [*snakemake, "--snakefile", str(ROOT / "Snakefile"), "--config", "study=many.yaml"],
        "bare": [*snakemake, "--snakefile", str(ROOT / "benchmarks/bare.smk"), "--configfile", "bare.json"],
    }


def start(command: list[str], folder: Path) -> tuple[Seconds, str]:
    """How long a command takes, and what it says.

    Raises:
        SystemExit: it failed.
    """
    begun, before = time.perf_counter(), os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    elapsed, after = time.perf_counter() - begun, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return Seconds(elapsed, processor), done.stdout + done.stderr


def jobs(text: str) -> dict[str, int]:
    """The table of jobs that a dry run prints."""
    return {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


def main() -> None:
    """Check that both have the same jobs, time them and print the ratio."""
    parser = argparse.ArgumentParser(description="Time `snakemake -n` against a bare Snakefile of the same shape.")
    parser.add_argument("--runs", type=int, default=2000, help="trainings, a multiple of 20 (default: 2000)")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each (default: 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = prepare(folder, arguments.runs)
        shapes = {name: jobs(start([*command, "--quiet", "rules"], folder)[1]) for name, command in commands.items()}
        if shapes["loragrid"] != shapes["bare"] or not shapes["bare"]:
            sys.exit(f"benchmarks/bare.smk is not of the workflow's shape any more: {shapes}")
        print(
            f"{shapes['bare']['total']:,} jobs of {arguments.runs:,} runs; {platform.machine()}, {os.cpu_count()} cores"
        )
        timed: dict[str, list[Seconds]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                timed[name].append(start([*command, "--quiet"], folder)[0])
    for kind in Seconds._fields:
        median = {name: statistics.median(getattr(item, kind) for item in items) for name, items in timed.items()}
        print(
            f"{kind} time: loragrid {median['loragrid']:.1f} s, bare {median['bare']:.1f} s,"
            f" ratio {median['loragrid'] / median['bare']:.2f}"
        )


if __name__ == "__main__":
    main()
