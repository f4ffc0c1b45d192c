"""How fast is `loragrid format`, with one process and with two, and how much memory do a million rows take?

    python benchmarks/format.py [--rows 1000000] [--timed 100000] [--pairs 30000] [--repeats 3]

Dialogues of two or four short messages and preference pairs are made here, with a tokenizer to match. One and two
processes are timed alternating: the ratio of the medians is what counts, and needs two cores that nothing else uses.
The aims are a ratio of at least 1.5, and at most 2 GB for a million rows.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from loragrid.files import write_jsonl
from loragrid.modeling.build import train_tokenizer

WHO = ["my dog", "my sister", "the old car", "our neighbour", "a friend of mine", "the new boss"]
DID = ["ran away", "came home", "made me laugh", "broke down", "forgot my birthday", "won a prize"]
SAID = ["That must have been hard.", "How lovely to hear!", "Tell me more about it.", "I would feel the same."]

FORMAT = """
if __name__ == "__main__":
    import json, sys, time
    from pathlib import Path

    from loragrid.jobs.environment import importing

    with importing():
        from loragrid.data.format import format_dataset
    settings = json.loads(sys.argv[1])
    folders = [Path(settings.pop(name)) for name in ("clean", "model", "out")]
    begun = time.perf_counter()
    format_dataset(*folders, key="", mask="answers", max_length=256, **settings)
    print(time.perf_counter() - begun)
"""

SAMPLES_PER_SECOND = 4


class Measured(NamedTuple):
    """What formatting took: seconds, and bytes of memory in all of its processes at the busiest moment."""

    seconds: float
    peak: int


def said(draw: random.Random) -> str:
    """An answer that is hardly twice the same."""
    return f"{draw.choice(SAID)} It was {draw.randrange(10**6)} days ago."


def asked(draw: random.Random) -> str:
    """A message of the user."""
    return f"Today {draw.choice(WHO)} {draw.choice(DID)}, and {draw.choice(WHO)} {draw.choice(DID)}."


def dialogues(rows: int) -> Iterator[dict[str, Any]]:
    """Dialogues of two or four messages."""
    draw = random.Random(rows)
    for number in range(rows):
        turns = [(asked(draw), said(draw)) for _ in range(draw.randint(1, 2))]
        messages = [
            {"role": role, "content": text}
            for turn in turns
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        yield {"id": f"d{number}", "messages": messages, "meta": {}}


def pairs(rows: int) -> Iterator[dict[str, Any]]:
    """A question with two answers."""
    draw = random.Random(rows)
    for number in range(rows):
        messages = [{"role": "user", "content": asked(draw)}]
        yield {"id": f"p{number}", "messages": messages, "chosen": said(draw), "rejected": said(draw), "meta": {}}


KINDS = {"chat": dialogues, "preference": pairs}
"""What is formatted, by the name of its format."""


def prepare(folder: Path, kind: str, rows: int) -> dict[str, Any]:
    """Write data and a tokenizer; the settings of `format_dataset` for them."""
    clean, model = folder / f"{kind}-{rows}", folder / "model"
    write_jsonl(clean / "train.jsonl", KINDS[kind](rows))
    write_jsonl(clean / "validation.jsonl", KINDS[kind](10))
    if not model.exists():
        texts = [message["content"] for dialogue in dialogues(1000) for message in dialogue["messages"]]
        train_tokenizer(texts, 1000, 256).save_pretrained(model)
    chat = {"template": None, "system": None, "arguments": {}, "date": "2024-07-26", "end_token": "text"}
    return {
        "clean": str(clean), "model": str(model), "out": str(folder / "out"), "chat": chat,
        "format_": {"name": kind, "version": 1, "options": {}},
    }  # fmt: skip


def measure(settings: dict[str, Any], workers: int) -> Measured:
    """Format once, in processes of its own.

    Raises:
        SystemExit: it failed.
    """
    script = Path(settings["clean"], "format.py")
    script.write_text(FORMAT, encoding="utf-8")
    command = [sys.executable, str(script), json.dumps(settings | {"workers": workers})]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(1 / SAMPLES_PER_SECOND)
    if process.returncode:
        sys.exit(f"formatting ended with status {process.returncode}")
    assert process.stdout
    return Measured(float(process.stdout.read().split()[-1]), peak)


def memory(pid: int) -> int:
    """Bytes in memory of a process and all that it has started; what they share counts once (PSS)."""
    total = 0
    try:
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.NoSuchProcess:
        pass  # at the end they go one after the other
    return total


def compare(folder: Path, kind: str, rows: int, repeats: int) -> None:
    """Time one process and two in turn, and print the ratio."""
    settings = prepare(folder, kind, rows)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repeats):
        for workers, taken in seconds.items():
            taken.append(measure(settings, workers).seconds)
    median = {workers: statistics.median(taken) for workers, taken in seconds.items()}
    print(
        f"{kind}, {rows:,} rows: one process {rows / median[1]:,.0f} rows/s, two {rows / median[2]:,.0f} rows/s,"
        f" ratio {median[1] / median[2]:.2f}",
        flush=True,
    )


def main() -> None:
    """Time both kinds of rows, measure the memory of many, and print it."""
    parser = argparse.ArgumentParser(description="Measure speed and memory of `loragrid format`.")
    parser.add_argument("--rows", type=int, default=1_000_000, help="whose memory is measured (default: 1000000)")
    parser.add_argument("--timed", type=int, default=100_000, help="rows that are timed (default: 100000)")
    parser.add_argument("--pairs", type=int, default=30_000, help="preference pairs that are timed (default: 30000)")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each (default: 3)")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        compare(folder, "chat", arguments.timed, arguments.repeats)
        compare(folder, "preference", arguments.pairs, arguments.repeats)
        taken = measure(prepare(folder, "chat", arguments.rows), 2)
    print(
        f"chat, {arguments.rows:,} rows with two processes: at most {taken.peak / 1e9:.2f} GB in all of them,"
        f" {taken.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
