"""How long is it from the start of a training's process to its first optimiser step, against the imports alone?

    python benchmarks/startup.py [--repeats 5] [--output startup.json]

A model of two layers, so that nothing takes time but starting. The first step is taken to be done when it is on record.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from bench import SMALL, Bench, batch_of

from loragrid.files import write_json
from loragrid.study.members import plain

SOURCE = Path(__file__).resolve().parents[1] / "src"

IMPORTS = """
from loragrid.jobs.environment import importing
with importing():
    import loragrid.training.train
print("done", flush=True)
"""

LONGEST = 300
"""Seconds after which something is wrong."""


def imports(environment: dict[str, str]) -> float:
    """Seconds until a process has imported what a training needs."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", IMPORTS], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        return time.perf_counter() - began


def first_step(environment: dict[str, str], run: Path) -> float:
    """Seconds until a training has made its first step, from the start of its job.

    Raises:
        SystemExit: it ended without one.
    """
    shutil.rmtree(run, ignore_errors=True)
    records = run / "work/training.jsonl"
    began = time.perf_counter()
    with Path("log").open("w", encoding="utf-8") as log:
        command = [sys.executable, "-m", "loragrid", "train", "train.json"]
        with subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
            while not records.exists() or b"\n" not in records.read_bytes():
                if process.poll() is not None or time.perf_counter() - began > LONGEST:
                    process.kill()
                    sys.exit(f"no step was made: {Path('log').read_text()[-3000:]}")
                time.sleep(0.005)
            seconds = time.perf_counter() - began
    return seconds


def main() -> None:
    """Measure both in turns, print the ratio of the medians and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="of each (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("startup.json"), help="(default: startup.json)")
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    importing, starting = [], []
    with tempfile.TemporaryDirectory(prefix="loragrid-startup-") as folder, contextlib.chdir(folder):
        bench = Bench({"small": SMALL}, steps=2)
        member = bench.member("run", bench.dialogues())
        write_json(Path("train.json"), plain(batch_of("train", member)))
        imports(environment)  # files come from the disk the first time
        for _ in range(arguments.repeats):
            importing.append(imports(environment))
            starting.append(first_step(environment, Path(member.run.folder)))
    before, after = statistics.median(importing), statistics.median(starting)
    print(f"imports {before:.2f} s, first step after {after:.2f} s: {after / before:.2f} times")
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{date.today()}, {machine}; medians of {arguments.repeats}")
    found = {
        "date": f"{date.today()}",
        "machine": machine,
        "imports_seconds": importing,
        "first_step_seconds": starting,
    }
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
