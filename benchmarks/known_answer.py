"""Of generated studies whose answer is known: how often is it found, and how often is something else claimed?

    python benchmarks/known_answer.py [--datasets 10]

Runs the whole workflow, in a folder of its own, on a model made there (tests/known_answer.py tells what is known).
"""

import argparse
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "workflow")]

import known_answer  # noqa: E402
from workspace import Workspace  # noqa: E402


def main() -> None:
    """Run it, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=10, help="(default: 10)")
    datasets = parser.parse_args().datasets
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.fresh(Path(folder, "known"))
        known_answer.write(workspace, datasets)
        workspace.snakemake(study="known")
        rows = known_answer.effects(workspace)
    print("| dataset | axis | pairs | gain, bits per byte | p after Holm | verdict |\n|---|---|---:|---|---:|---|")
    for row in rows:
        interval = f"{float(row['gain']):+.4f} [{float(row['low']):.4f}, {float(row['high']):.4f}]"
        about = [row["dataset"], row["axis"], row["pairs"], interval, row["p_holm"], row["verdict"]]
        print(f"| {' | '.join(about)} |")
    found = sum(row["verdict"] == "better" for row in rows if row["axis"] == known_answer.MATTERS)
    claimed = sum(row["verdict"] in ("better", "worse") for row in rows if row["axis"] == known_answer.DOES_NOT)
    print(f"\nfound: {found} of {datasets}; claimed falsely: {claimed} of {datasets}")


if __name__ == "__main__":
    main()
