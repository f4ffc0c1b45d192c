"""Does loragrid train and answer on this GPU as it does on a CPU, how fast, and in how much memory?

    python benchmarks/gpu.py [--small] [--only NAME ...] [--minutes 8] [--output gpu.json]

Models have random weights and the dimensions of real ones, so that nothing is downloaded; they are trained and asked by
the package's own functions, as a job does it (gpu_checks.py). Each check prints a line with what it found, and passes,
fails or is left out by itself: it has a limit of time, and after one that failed the others go on in a new process,
since an error of CUDA spoils the one it happened in. The file has all of it, with the card, versions and the date. Exit
status 1: a check failed.

It needs torch, transformers, peft, trl, bitsandbytes, accelerate, datasets, pydantic and what these need; no package
that is there for scores, tables or the workflow alone. `vllm` needs vLLM in an environment of its own (envs/vllm.txt),
named by LORAGRID_VLLM. `--small` is for machines without a GPU, where it is the
default: models of two layers, to see that the checks themselves work. Their figures mean nothing.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHECKS = Path(__file__).with_name("gpu_checks.py")

GOALS = {
    "matrix-rate": "at least what estimates count on",
    "sft": "at most 1e-6 off when resumed, the same bytes again, loss falls, adapter in float32",
    "sft-fp16": "as sft but for again, gradients scaled",
    "adamw-8bit": "as sft, last loss within 5 % of AdamW's",
    "paged-adamw": "as sft, last loss within 1 % of AdamW's",
    "dpo-continue": "first loss ln 2 within rounding, margin grows",
    "dpo-stack": "first loss ln 2 within rounding, margin grows",
    "flash-attention": "each loss within 1 % of the padded rows', and no row sees another",
    "exhausted-memory": "micro-batch halved, result the same",
    "tinyllama": "memory within 15 % of the estimate",
    "llama-2-7b": "memory within 15 % of the estimate",
    "answers": "every prompt is answered",
    "vllm": "every prompt is answered, adapters' first words as by transformers in 9 of 10",
}
"""What each check must find to pass, in the order in which they are made."""


def run_all(names: list[str], small: bool, minutes: float) -> dict[str, Any]:
    """Make checks in a process, and in a new one what is left when one has failed; print a line for each.

    Args:
        names: of the checks.
        small: with tiny models, also on a GPU.
        minutes: after which the rest is left out.

    Returns:
        Card, versions and date, `checks` and `seconds`.
    """
    began, results, card = time.time(), [], {}
    # A folder for all processes: what one has made, the next one finds there.
    with tempfile.TemporaryDirectory(prefix="loragrid-gpu-", ignore_cleanup_errors=True) as folder:
        left = names
        while left:
            for line in run_some(left, small, began + 60 * minutes, Path(folder)):
                if "about" in line:
                    if not card:
                        print(heading(line["about"]), flush=True)
                    card = line["about"]
                else:
                    results.append({"goal": GOALS[line["name"]], **line})
                    show(results[-1])
            known = {result["name"] for result in results}
            left = [name for name in left if name not in known]
    return {**card, "checks": results, "seconds": round(time.time() - began, 1)}


def run_some(names: list[str], small: bool, until: float, folder: Path) -> Iterator[dict[str, Any]]:
    """Make checks in a process until one fails; what it says, as soon as it does. At least one check is among it.

    Raises:
        SystemExit: the process ended before its first check: a package is missing, say.
    """
    out, log = folder / "out.jsonl", folder / "log.txt"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(CHECKS), str(out), str(until), "small" if small else "whole", *names]
    begun, known = "", set()
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        shown = 0
        while True:
            ended = process.poll() is not None  # before the file is read: nothing comes after
            lines = whole_lines(out)
            for line in lines[shown:]:
                begun = line.get("begins", begun)
                known.add(line.get("name"))
                if "begins" not in line:
                    yield line
            shown = len(lines)
            if ended:
                break
            time.sleep(0.2)
    if begun not in known:
        end = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        said = next((line.strip() for line in reversed(end.splitlines()) if line.strip()), "it said nothing")
        if not begun:  # nor would the next one begin
            sys.exit(f"the checks did not start: {said}\n\n{end}")
        late = process.returncode == -signal.SIGALRM
        why = "took too long" if late else f"its process ended with {process.returncode}: {said}"
        yield {"name": begun, "outcome": "failed", "figure": why, "log": end}


def whole_lines(file: Path) -> list[dict[str, Any]]:
    """Records of a file that grows."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def heading(card: dict[str, Any]) -> str:
    """What the checks are made on."""
    memory = f", {card['memory_bytes'] / 2**30:.1f} GiB" if "memory_bytes" in card else ""
    small = "\nsmall: shows that the checks work; their figures mean nothing" if card["small"] else ""
    versions = ", ".join(f"{name} {card['versions'][name]}" for name in ("torch", "transformers", "bitsandbytes"))
    return f"{card['date']}, {card['device']}{memory}; {versions}{small}"


def show(result: dict[str, Any]) -> None:
    """Print the line of a check."""
    seconds = f" ({result['seconds']:.0f} s)" if "seconds" in result else ""
    goal = "" if result["outcome"] == "left out" else f" [goal: {result['goal']}]"
    print(f"{result['outcome']:8}  {result['name']:16}  {result['figure']}{goal}{seconds}", flush=True)


def main() -> None:
    """Make the checks, print a line for each and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny models; the default where there is no GPU")
    parser.add_argument("--only", nargs="+", choices=GOALS, default=list(GOALS), metavar="NAME", help=", ".join(GOALS))
    parser.add_argument("--minutes", type=float, default=8, help="after which the rest is left out (default: 8)")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="file to write (default: gpu.json)")
    arguments = parser.parse_args()
    found = run_all([name for name in GOALS if name in arguments.only], arguments.small, arguments.minutes)
    arguments.output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    failed = sum(check["outcome"] == "failed" for check in found["checks"])
    print(f"{len(found['checks'])} checks, {failed} failed, {found['seconds']:.0f} s; all in {arguments.output}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
