"""How well does `loragrid plan` know what jobs need? Memory and time of real jobs on this CPU against the estimates.

    python benchmarks/estimates.py [--calibration | --growth] [--repeats 2] [--only NAME ...]

Each setting makes a Llama with random weights and rows of random tokens, trains a real run (one epoch) and asks it, in
processes of their own with one thread, as the workflow does. Peak memory is what the system counted (ru_maxrss); time
is that of the processor, imports included, which of one thread is the elapsed time where nothing else runs. The
estimates are made before, from dimensions, rows and tokens alone, with this machine's speed in one matrix product.

The constants in loragrid/estimates marked as measured were fitted to the settings of `CALIBRATION` and of `GROWTH`, one
model over the length of rows, the micro-batch and the rank; what counts are those of `HELD_OUT`. They are run unless
`--calibration` or `--growth` is given.
"""

import argparse
import contextlib
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench import DID, KIND, WHO, Bench, batch_of

from loragrid.estimates.devices import DEVICES, Device, for_this_machine
from loragrid.estimates.memory import generation_memory, rows_at_a_time, training_memory
from loragrid.estimates.time import generation_seconds, likelihood_seconds, loading_seconds, training_seconds
from loragrid.estimates.workload import GenerationWork, TrainingWork
from loragrid.files import read_json, write_json, write_jsonl
from loragrid.modeling.dimensions import Dimensions
from loragrid.modeling.tokenizer import load_plain_tokenizer
from loragrid.study.members import plain
from loragrid.study.recipe import Recipe
from loragrid.study.swiglu import swiglu_width

SOURCE = Path(__file__).resolve().parents[1] / "src"


@dataclass(frozen=True)
class Setting:
    """A model, its rows and how it is trained and asked."""

    name: str
    hidden: int
    layers: int
    vocabulary: int
    precision: str
    micro_batch: int
    length: int
    steps: int
    rank: int = 8
    dropout: float = 0.0
    prompts: int = 16
    answer: int = 32

    @property
    def recipe(self) -> Recipe:
        """One epoch; four micro-batches a step where they are small."""
        return Recipe(
            rank=self.rank,
            dropout=self.dropout,
            batch_size=max(8, self.micro_batch),
            epochs=1,
            max_length=self.length,
            evaluations=1,
        )

    @property
    def size(self) -> Dimensions:
        """As the study's `build` would make it, with heads of 64."""
        heads = self.hidden // 64
        return Dimensions(self.hidden, swiglu_width(self.hidden), self.layers, heads, heads, 64, self.vocabulary)


CALIBRATION = [
    Setting("c1", 192, 6, 2048, "nf4", 8, 128, 30),
    Setting("c2", 512, 8, 8192, "nf4", 4, 256, 6),
    Setting("c3", 1024, 4, 16384, "nf4", 1, 128, 3),
    Setting("c4", 256, 12, 4096, "32bit", 8, 256, 10),
    Setting("c5", 768, 6, 16384, "32bit", 2, 512, 2),
    Setting("c6", 512, 4, 16384, "nf4", 16, 64, 10),
    Setting("c7", 1024, 12, 4096, "nf4", 2, 64, 4),
    Setting("c8", 64, 2, 512, "nf4", 4, 128, 40),
    Setting("c9", 256, 4, 2048, "nf4", 16, 512, 4),
    Setting("c10", 1024, 12, 8192, "32bit", 8, 256, 2),
]

HELD_OUT = [
    Setting("v1", 192, 6, 2048, "nf4", 8, 256, 40, rank=16),
    Setting("v2", 384, 8, 8192, "nf4", 8, 192, 8),
    Setting("v3", 768, 10, 8192, "nf4", 2, 256, 4),
    Setting("v4", 1024, 8, 16384, "nf4", 4, 128, 3),
    Setting("v5", 640, 6, 12288, "32bit", 4, 256, 6),
    Setting("v6", 320, 4, 16384, "nf4", 16, 128, 8, dropout=0.1),
    Setting("v7", 512, 12, 4096, "nf4", 1, 512, 4, rank=32),
    Setting("v8", 896, 6, 4096, "32bit", 8, 192, 4, rank=4),
    Setting("v9", 448, 6, 8192, "nf4", 8, 160, 6, dropout=0.05),
    Setting("v10", 256, 8, 16384, "nf4", 16, 96, 6, dropout=0.1),
]

GROWTH = [
    *(Setting(f"length-{length}", 576, 12, 8192, "nf4", 4, length, 3) for length in (32, 64, 128, 256, 512)),
    *(Setting(f"batch-{rows}", 576, 12, 8192, "nf4", rows, 64, 3) for rows in (1, 2, 8, 16)),
    *(Setting(f"rank-{rank}", 576, 12, 8192, "nf4", 4, 64, 3, rank=rank) for rank in (2, 32, 128)),
]
"""Around `length-64`, which has four rows and rank 8."""


@dataclass(frozen=True)
class Taken:
    """What a process took."""

    megabytes: float
    seconds: float


def prepare(setting: Setting) -> tuple[TrainingWork, GenerationWork]:
    """Make model, rows, prompts and batches in the current folder; how much work they are."""
    recipe, size = setting.recipe, setting.size
    draw = random.Random(setting.name)
    # Rows from half the length on; the first is as long as any.
    train = [setting.length] + [
        draw.randint(setting.length // 2, setting.length) for _ in range(setting.steps * recipe.batch_size - 1)
    ]
    validation = [draw.randint(setting.length // 2, setting.length) for _ in range(setting.micro_batch)]
    dimensions = {
        "vocab_size": size.vocabulary, "hidden_size": size.hidden, "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers, "num_attention_heads": size.heads, "num_key_value_heads": size.heads,
        "max_position_embeddings": 2048,
    }  # fmt: skip
    bench = Bench({"m": dimensions}, setting.steps, setting.precision)
    given = vars(recipe)
    member = bench.member("run", bench.noise("m", train, validation), micro_batch=setting.micro_batch, **given)
    asked = bench.asked(member, Path("prompts.jsonl"), setting.answer)
    asked.answers.scores["likelihood"] = {"name": "likelihood", "version": 1, "options": {}, "key": "s" * 64}
    asked.parts["likelihood"] = f"{asked.answers.folder}/likelihood.json"
    for stage, each in {"train": member, "generate": asked}.items():
        write_json(Path(f"{stage}.json"), plain(batch_of(stage, each)))
    tokenizer = load_plain_tokenizer(bench.model().folder)
    prompts, lengths = [], []
    for number in range(setting.prompts):
        least, said = draw.randint(setting.length // 4, setting.length // 2), ""
        while (tokens := len(tokenizer(said)["input_ids"])) < least:
            said += f"{draw.choice(WHO)} {draw.choice(DID)}. "
        messages = [{"role": "user", "content": said}]
        prompts.append({"id": f"{number}", "dialogue": f"{number}", "messages": messages, "reference": KIND[0]})
        lengths.append(tokens)
    write_jsonl(Path("prompts.jsonl"), prompts)
    trained = TrainingWork(
        sum(train),
        setting.steps,
        sum(train) / len(train),
        setting.length,
        len(validation),
        sum(validation),
        setting.recipe.evaluations,
    )
    return trained, GenerationWork(len(prompts), sum(lengths) / len(lengths), max(lengths), setting.answer)


def start(stage: str, folder: Path, environment: dict[str, str]) -> Taken:
    """Run the job of a stage from its beginning; its peak memory and its time.

    Raises:
        SystemExit: it did not finish.
    """
    shutil.rmtree(folder / "results" / ("runs" if stage == "train" else "answers"), ignore_errors=True)
    command = [sys.executable, "-m", "loragrid", stage, f"{stage}.json"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status or list(folder.glob("results/**/failed*.json")):
        sys.exit(f"{stage} failed: {(folder / 'log').read_text()[-3000:]}")
    return Taken(usage.ru_maxrss * 1024 / 1e6, usage.ru_utime + usage.ru_stime)


def estimate(setting: Setting, trained: TrainingWork, asked: GenerationWork, cpu: Device) -> tuple[Taken, Taken]:
    """What training and asking should take."""
    size, precision = setting.size, setting.precision
    recipe = setting.recipe
    micro_batch = setting.micro_batch
    memory = training_memory(
        size, cpu, precision, recipe, micro_batch=micro_batch, length=trained.longest, file_bytes=2
    )
    seconds = training_seconds(size, cpu, precision, recipe, trained, micro_batch=micro_batch, gpus=1)
    adapter = size.adapter(setting.rank, "all-linear")
    rows = rows_at_a_time(size, cpu, precision, adapter, least=micro_batch, most=max(micro_batch, asked.prompts))
    of_answers = generation_memory(
        size, cpu, precision, adapter, of_rows=rows.bytes_of(asked.longest_prompt + asked.answer_tokens),
        batch=micro_batch, prompt=asked.longest_prompt, answer=asked.answer_tokens, file_bytes=2,
    )  # fmt: skip
    at_a_time = min(rows.of(round(asked.prompt_tokens + asked.answer_tokens)), asked.prompts)
    answering = generation_seconds(size, cpu, precision, asked, batch=at_a_time)
    answering += likelihood_seconds(size, cpu, precision, asked, batch=micro_batch) + loading_seconds(size, cpu)
    return (
        Taken(memory.host / 1e6, cpu.start_seconds + seconds),
        Taken(of_answers.host / 1e6, cpu.start_seconds + answering),
    )


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def against(estimated: float, measured: float, form: str) -> str:
    """Estimate, measurement and how far the one is off."""
    return f"{estimated:{form}} / {measured:{form}} ({estimated / measured - 1:+.0%})"


def main() -> None:
    """Measure each setting and print the comparison."""
    parser = argparse.ArgumentParser(description="Compare estimated with measured memory and time on this CPU.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--calibration", action="store_true", help="run the settings that constants were fitted to")
    which.add_argument("--growth", action="store_true", help="one model, over length, micro-batch and rank")
    parser.add_argument("--repeats", type=int, default=2, help="of each job; the shortest counts (default: 2)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these settings alone")
    arguments = parser.parse_args()
    settings = CALIBRATION if arguments.calibration else GROWTH if arguments.growth else HELD_OUT
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(SOURCE)}
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, one thread; estimated / measured (error)\n")
    print(row("", "hidden × layers, vocabulary", "precision", "micro-batch × length", *(
        f"{stage}: {what}" for stage in ("train", "generate") for what in ("memory, MB", "time, s")
    )))  # fmt: skip
    print(row(*["---"] * 8), flush=True)
    # The fastest of some: other programs may take a part of the machine.
    cpu = max((for_this_machine(DEVICES["cpu"]) for _ in range(5)), key=lambda device: device.rate)
    for setting in settings:
        if arguments.only and setting.name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            with contextlib.chdir(folder):
                work = prepare(setting)
            estimated = estimate(setting, *work, cpu)
            cells = []
            for stage, expected in zip(("train", "generate"), estimated, strict=True):
                measured = [start(stage, folder, environment) for _ in range(arguments.repeats)]
                cells.append(against(expected.megabytes, max(taken.megabytes for taken in measured), ",.0f"))
                # Other programs only ever make it longer.
                cells.append(against(expected.seconds, min(taken.seconds for taken in measured), ".1f"))
            assert read_json(folder / "results/runs/run/work/run.json")["steps"] == setting.steps
        dimensions = f"{setting.hidden} × {setting.layers}, {setting.vocabulary:,}"
        rows = f"{setting.micro_batch} × {setting.length}"
        print(row(setting.name, dimensions, setting.precision, rows, *cells), flush=True)


if __name__ == "__main__":
    main()
