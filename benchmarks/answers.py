"""How fast are answers, against prompts one by one, and six adapters in one process against six processes?

    python benchmarks/answers.py [--model demo] [--prompts 64] [--repeats 3] [--output answers.json]

A Llama with random weights and the dimensions of the demo's model, or of SmolLM2-135M, in NF4, with six adapters of
ranks 8 to 32, on this machine's CPU, with greedy decoding. Random weights end few answers, so most run to their limit
of 64 tokens; where answers end early, rows of a batch wait for the longest. Each way is a process of its own
(answerers.py), in turns, on a machine that should have nothing else to do. Loading is left out of the seconds of
answering.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

ADAPTERS = 6


class Ways:
    """Starts the processes.

    Args:
        folder: for the model, the adapters and the answers.
        prompts: how many.
        model: whose dimensions.
    """

    def __init__(self, folder: Path, prompts: int, model: str):
        self._folder = folder
        self._sizes = [model, f"{prompts}"]

    def start(self, name: str, adapter: int = 0) -> dict[str, Any]:
        """Answer in one way; what it wrote, with the seconds of the whole process.

        Raises:
            SystemExit: it failed.
        """
        output, script = self._folder / "output.json", Path(__file__).with_name("answerers.py")
        command = [sys.executable, script, name, self._folder / "work", output, *self._sizes, f"{adapter}"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        elapsed = time.perf_counter() - began
        if done.returncode:
            sys.exit(f"{name} failed: {done.stderr[-3000:]}")
        if name == "make":
            return {}
        found = json.loads(output.read_text(encoding="utf-8")) | {"elapsed": elapsed}
        print(f"{name}: {found['seconds']:.1f} s, {elapsed:.1f} s with its start", file=sys.stderr, flush=True)
        return found


def same(some: dict[str, dict[str, str]], others: dict[str, dict[str, str]]) -> str:
    """How many answers have the same text, as `384 of 384`."""
    equal = [others[adapter][id_] == text for adapter, texts in some.items() for id_, text in texts.items()]
    return f"{sum(equal)} of {len(equal)}"


def spread(values: Sequence[float]) -> str:
    """The median, and between what."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Answer in each way, some times over; print both comparisons and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64, help="for each adapter (default: 64)")
    parser.add_argument("--repeats", type=int, default=3, help="of each way (default: 3)")
    parser.add_argument(
        "--model", choices=("demo", "smollm2-135m", "small"), default="demo",
        help="whose dimensions (default: demo); small shows that all works, and its figures mean nothing",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, default=Path("answers.json"), help="(default: answers.json)")
    arguments = parser.parse_args()
    taken: dict[str, list[dict[str, Any]]] = {"alone": [], "one-by-one": [], "six": [], "together": []}
    with tempfile.TemporaryDirectory(prefix="loragrid-answers-") as folder:
        ways = Ways(Path(folder), arguments.prompts, arguments.model)
        ways.start("make")
        for _ in range(arguments.repeats):
            taken["one-by-one"].append(ways.start("one-by-one"))
            each = [ways.start("alone", adapter) for adapter in range(ADAPTERS)]
            taken["alone"].append(each[0])
            taken["six"].append({
                "seconds": sum(one["seconds"] for one in each),
                "elapsed": sum(one["elapsed"] for one in each),
                "answers": {adapter: texts for one in each for adapter, texts in one["answers"].items()},
                "memory_bytes": max(one["memory_bytes"] for one in each),
            })  # fmt: skip
            taken["together"].append(ways.start("together"))

    def seconds(name: str, which: str = "seconds") -> list[float]:
        return [one[which] for one in taken[name]]

    def ratio(slow: str, fast: str, which: str = "seconds") -> str:
        return f"{statistics.median(seconds(slow, which)) / statistics.median(seconds(fast, which)):.2f}"

    print("| one adapter | seconds | answers/s | seconds an answer | times as fast | same text |")
    print("|---|---|---|---|---|---|")
    for name, words in (("one-by-one", "one by one, `generate` for each"), ("alone", "loragrid, up to 64 at a time")):
        median = statistics.median(seconds(name))
        text = same(taken[name][0]["answers"], taken["one-by-one"][0]["answers"])
        print(
            f"| {words} | {spread(seconds(name))} | {arguments.prompts / median:.2f} | "
            f"{median / arguments.prompts:.3f} | {ratio('one-by-one', name)} | {text} |"
        )
    print("\n| six adapters | seconds | with the start | times as fast, with the start | memory, GB | same text |")
    print("|---|---|---|---|---|---|")
    for name, words in (("six", "six processes, one after the other"), ("together", "mixed in one process")):
        memory = max(one["memory_bytes"] for one in taken[name]) / 1e9
        text = same(taken[name][0]["answers"], taken["six"][0]["answers"])
        print(
            f"| {words} | {spread(seconds(name))} | {spread(seconds(name, 'elapsed'))} | {ratio('six', name)}, "
            f"{ratio('six', name, 'elapsed')} | {memory:.2f} | {text} |"
        )
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(
        f"\n{date.today()}, {machine}; {arguments.model}, {arguments.prompts} prompts, medians of {arguments.repeats}"
    )
    about = {"date": f"{date.today()}", "machine": machine, "prompts": arguments.prompts, "model": arguments.model}
    arguments.output.write_text(json.dumps(about | taken, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
