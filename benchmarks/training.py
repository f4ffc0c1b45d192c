"""How fast is training, against other ways of training the same model on the same short rows?

    python benchmarks/training.py [--rows 128] [--repeats 3] [--only NAME ...] [--small] [--output training.json]

A Llama with random weights and the dimensions of SmolLM2-135M, in NF4, one epoch over rows of 20 to 50 random tokens,
the first half of each a prompt without a label, on this machine's CPU. Each way is a process of its own (trainers.py),
in turns, on a machine that should have nothing else to do; what is compared is the time within Trainer.train.
`--small` is to see that it works: its figures mean nothing.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

WAYS = {
    "loragrid": "loragrid, float32",
    "padded": "rows padded to 512, Trainer of transformers, float32",
    "trl": "TRL's defaults (bf16 autocast, activations computed again)",
    "trl-float32": "TRL's defaults in float32, adapter included",
    "trl-expert": "TRL in float32, adapter included, nothing computed again, rows grouped by length",
    "trl-expert-bf16": "the same in bf16",
}


def start(name: str, folder: Path, rows: int, small: bool) -> dict[str, Any]:
    """Train in one way, in a process of its own; what it wrote.

    Raises:
        SystemExit: it failed.
    """
    output = folder / "output.json"
    output.unlink(missing_ok=True)
    script = Path(__file__).with_name("trainers.py")
    command = [sys.executable, script, name, folder / "work", output, "small" if small else "whole", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr[-3000:]}")
    return json.loads(output.read_text(encoding="utf-8"))


def main() -> None:
    """Train in each way, some times over; print the comparison and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=128, help="of the epoch, a multiple of 16 (default: 128)")
    parser.add_argument("--repeats", type=int, default=3, help="of each way (default: 3)")
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME", help=", ".join(WAYS))
    parser.add_argument("--small", action="store_true", help="a model of two layers")
    parser.add_argument("--output", type=Path, default=Path("training.json"), help="(default: training.json)")
    arguments = parser.parse_args()
    names = ["loragrid", *(name for name in WAYS if name in arguments.only and name != "loragrid")]
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="loragrid-training-") as folder:
        for _ in range(arguments.repeats):
            for name in names:
                taken[name].append(start(name, Path(folder), arguments.rows, arguments.small))
                print(f"{name}: {taken[name][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    seconds = {name: [each["seconds"] for each in taken[name]] for name in names}
    ours = statistics.median(seconds["loragrid"])
    print("| | seconds an epoch | × loragrid | loss: first step, mean | memory, GB |")
    print("|---|---|---|---|---|")
    for name in names:
        median, steps = statistics.median(seconds[name]), taken[name][0]["losses"]
        between = f"{median:.1f} ({min(seconds[name]):.1f} to {max(seconds[name]):.1f})"
        loss = f"{steps[0]:.4f}, {statistics.mean(steps):.4f}"
        memory = max(each["memory_bytes"] for each in taken[name]) / 1e9
        print(f"| {WAYS[name]} | {between} | {median / ours:.2f} | {loss} | {memory:.2f} |")
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"\n{date.today()}, {machine}; {arguments.rows} rows, medians of {arguments.repeats}")
    found = {"date": f"{date.today()}", "machine": machine, "rows": arguments.rows, "small": arguments.small, **taken}
    arguments.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
