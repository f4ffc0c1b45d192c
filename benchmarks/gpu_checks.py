"""The checks of gpu.py, which starts this file: they run one after the other, until one fails.

    python benchmarks/gpu_checks.py OUTPUT UNTIL SIZE NAME ...

Each is a function that trains or asks with the package's own functions, looks at what came out, and returns it.
"""

import contextlib
import json
import math
import os
import platform
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

from bench import CHAT, LLAMA_2_7B, MICRO_BATCH, SMALL, TINYLLAMA, Bench, LeftOut, batch_of, dialogue, records

from loragrid.jobs.environment import describe, importing, release_memory

with importing():
    import torch
    from safetensors.torch import load_file

    from loragrid.errors import NodeError
    from loragrid.estimates.devices import DEVICES, Device
    from loragrid.estimates.memory import training_memory
    from loragrid.estimates.sizes import dimensions
    from loragrid.files import read_json, read_jsonl, write_jsonl
    from loragrid.generation.generate import generate_batch
    from loragrid.jobs.attempts import read_attempts
    from loragrid.jobs.vllm_program import executable_of
    from loragrid.modeling import load
    from loragrid.modeling.attention import FLASH, flash_attention
    from loragrid.modeling.load import compute_dtype, device
    from loragrid.study.grid import LogProbabilities
    from loragrid.study.members import Compared, CompareMember
    from loragrid.study.recipe import Recipe
    from loragrid.training import arguments, references, sft
    from loragrid.training import checkpoint as checkpoints
    from loragrid.training.records import Records

MODELS = {"short": TINYLLAMA | {"num_hidden_layers": 4}, "tinyllama": TINYLLAMA, "llama-2-7b": LLAMA_2_7B}
"""Dimensions by name. `short` is what checks of arithmetic are made with."""

RECIPES: dict[str, dict[str, Any]] = {
    # of config/studies/tinyllama-sft-dpo.yaml (SFT4)
    "tinyllama": {"rank": 8, "alpha": 64, "dropout": 0.05, "batch_size": 16, "max_length": 512, "learning_rate": 5e-5},
    # of config/studies/tweetsumm.yaml
    "llama-2-7b": {
        "rank": 16, "alpha": 32, "target_modules": ["q_proj", "v_proj"], "batch_size": 8, "max_length": 1024,
        "learning_rate": 2e-4, "optimizer": "paged_adamw_32bit",
    },
}  # fmt: skip
"""How models are trained in the studies, by model."""

CLOSE = 1e-6
"""How far a tensor may be off after an interruption: the norm of the difference, relative to its own."""

RESUMED = {"dropout": 0.1, "group_by_length": True, "micro_batch": 2}
"""What makes resumption hard: dropout, rows in another order than they are stored, gradients in parts."""

WITHIN = 0.15
"""How far the estimate of memory may be off."""

LIMIT = 180
"""Seconds that a check may take on a GPU."""


@dataclass
class Found:
    """What a check found.

    Args:
        figure: in words, with units.
        passed: whether it is as it should be.
        values: the figures behind it, for the file.
    """

    figure: str
    passed: bool = True
    values: dict[str, Any] = field(default_factory=dict)


class GpuBench(Bench):
    """Models of the sizes that count on a GPU, and what is done to them there.

    Args:
        small: for a CPU.
    """

    def __init__(self, small: bool):
        super().__init__(dict.fromkeys(MODELS, SMALL) if small else MODELS, steps=6 if small else 12)
        self.small = small

    def train_interrupted(self, folder: str, rows: str, at: int, **settings: Any) -> Path:
        """Train a run to its end, with a preemption's signal after a step; its work folder."""
        member, add = self.member(folder, rows, **settings), Records.add

        def added(records: Any, step: int, **values: Any) -> None:
            add(records, step, **values)
            if step == at and "learning_rate" in values:
                os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(Records, "add", added):
            if self.attempt(member):
                raise RuntimeError(f"{folder}: was not interrupted at step {at}")
        return self.train(folder, rows, **settings)

    def train_large(self, name: str) -> tuple[Path, Recipe]:
        """Train a whole model at its study's settings, for some steps; work folder and recipe."""
        settings = RECIPES[name] | {"max_steps": self.steps // 2, "evaluations": 1}
        if self.small:
            settings |= {"max_length": 64, "optimizer": "adamw"}
        rows = self.noise(name, [settings["max_length"]] * settings["batch_size"] * settings["max_steps"])
        work = self.train(name, rows, model=name, **settings)
        return work, Recipe(**read_json(work / "run.json")["recipe"])

    def device(self) -> Device:
        """What estimates know of this card; of one that they do not know, an A100's memory is needed as well."""
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        return next((device for device in DEVICES.values() if device.is_called(name)), DEVICES["a100"])


def distance(work: Path, other: Path) -> float:
    """Largest norm of the difference of a tensor of two runs' adapters, relative to its own."""
    ours, theirs = (load_file(each / "adapter/adapter_model.safetensors") for each in (work, other))
    differences = (
        ((ours[name].double() - weight.double()).norm(), weight.double().norm()) for name, weight in theirs.items()
    )
    return max((difference / norm).item() for difference, norm in differences)


def gib(size: float) -> str:
    """Bytes, for people."""
    return f"{size / 2**30:.2f} GiB"


# -- the checks


def find_rate(bench: GpuBench) -> Found:
    """The rate of one large matrix product in the precision that training computes in."""
    rate = matrix_rate(bench)
    card, expected = bench.device(), bench.device().rate
    values = {"operations_per_second": rate, "of_estimates": expected, "estimates_device": card.name}
    figure = f"{rate / 1e12:.2f} TFLOP/s in {str(compute_dtype()).removeprefix('torch.')}"
    if bench.small:
        return Found(figure, True, values)
    return Found(f"{figure}; estimates sustain {expected / 1e12:.0f} ({card.name})", rate >= expected, values)


def matrix_rate(bench: GpuBench) -> float:
    """Operations a second, the best of some products."""
    width = 512 if bench.small else 8192
    a, b = (torch.randn(width, width, device=device(), dtype=compute_dtype()) for _ in range(2))
    seconds = []
    for _ in range(10):
        synchronise()
        began = time.perf_counter()
        a @ b
        synchronise()
        seconds.append(time.perf_counter() - began)
    return 2 * width**3 / min(seconds)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def find_sft(bench: GpuBench) -> Found:
    """Supervised, in the precision that the device has."""
    found = resumed(bench, "sft", compute_dtype())
    again = bench.train("sft-again", bench.dialogues(), **RESUMED)
    same = distance(again, Path("results/runs/sft/work"))
    figure = f"{found.figure}; trained again {'the same bytes' if same == 0 else f'{same:.1e} off'}"
    return Found(figure, found.passed and same == 0, found.values | {"again_off": same})


def find_sft_fp16(bench: GpuBench) -> Found:
    """Supervised, in fp16 whatever the device has."""
    with as_on_a_t4():
        return resumed(bench, "sft-fp16", torch.float16)


@contextlib.contextmanager
def as_on_a_t4() -> Iterator[None]:
    """Compute in fp16, where the device may have bf16 or be a CPU."""
    with contextlib.ExitStack() as stack:
        for module in (load, arguments, references):
            stack.enter_context(mock.patch.object(module, "compute_dtype", return_value=torch.float16))
        yield


def resumed(bench: GpuBench, name: str, dtype: Any, **recipe: Any) -> Found:
    """Train a run at once, and another time with an interruption; see that both are the same, and in float32."""
    settings = RESUMED | recipe
    whole = bench.train(name, bench.dialogues(), **settings)
    again = bench.train_interrupted(f"{name}-interrupted", bench.dialogues(), bench.steps // 2, **settings)
    off = distance(again, whole)
    first, last = (line["loss"] for line in [line for line in records(whole) if "loss" in line][:: bench.steps - 1])
    checkpoint, _ = checkpoints.newest(again / "checkpoints")
    saved = checkpoints.load(checkpoint)
    trained = {str(weight.dtype) for weight in saved.adapter.values()}
    scale = saved.scaler.get("scale")
    scales = dtype == torch.float16 and torch.cuda.is_available()  # on a CPU nothing does
    values = {"off": off, "first_loss": first, "last_loss": last, "adapter": sorted(trained), "scale": scale}
    passed = off <= CLOSE and last < first and trained == {"torch.float32"} and scales == bool(scale)
    parts = [
        f"{str(dtype).removeprefix('torch.')}: {off:.1e} off after an interruption",
        f"loss {first:.2f} → {last:.2f} nats a token",
        f"adapter in {', '.join(sorted(trained)).replace('torch.', '')}",
    ]
    return Found("; ".join([*parts, f"scale {scale:g}"] if scale else parts), passed, values)


def find_8bit(bench: GpuBench) -> Found:
    """Adam with moments in 8 bits."""
    return of_optimizer(bench, "adamw_8bit", 0.05)


def find_paged(bench: GpuBench) -> Found:
    """Adam with moments that may go to the host."""
    return of_optimizer(bench, "paged_adamw_32bit", 0.01)


def of_optimizer(bench: GpuBench, name: str, most: float) -> Found:
    """Train with an optimiser of bitsandbytes, interrupted, and compare its loss with AdamW's.

    Args:
        bench: where.
        name: of the optimiser.
        most: how far its last loss may be from AdamW's, relative to it.
    """
    if not torch.cuda.is_available():
        raise LeftOut("bitsandbytes has it for CUDA only")
    settings = {"rank": 8, "target_modules": "all-linear", "learning_rate": 1e-3}
    found = resumed(bench, name, compute_dtype(), optimizer=name, **settings)
    adamw = bench.train("adamw", bench.dialogues(), **RESUMED, **settings)
    expected = [line["loss"] for line in records(adamw) if "loss" in line][-1]
    off = abs(found.values["last_loss"] / expected - 1)
    values = found.values | {"adamw_last_loss": expected, "loss_off": off}
    return Found(f"{found.figure}; last loss {off:.2%} from AdamW's", found.passed and off <= most, values)


def find_continue(bench: GpuBench) -> Found:
    """DPO that trains the parent's adapter on."""
    return preferring(bench, "continue")


def find_stack(bench: GpuBench) -> Found:
    """DPO with an adapter over the parent's."""
    return preferring(bench, "stack")


def preferring(bench: GpuBench, adapter: str) -> Found:
    """Train on pairs, over a parent that was trained on dialogues."""
    rows = bench.pairs()
    parent = bench.member("parent", bench.dialogues(), max_steps=6)
    bench.train("parent", bench.dialogues(), max_steps=6)
    wanted = LogProbabilities(
        id="pairs", key="l" * 64, model="short", precision="nf4", formatted=os.path.relpath(rows, "data/formatted"),
        chat=CHAT,
        run=parent.run.folder,
    )  # fmt: skip
    member = CompareMember(wanted, parent.model, parent.run)
    references.reference_batch(batch_of("log_probabilities", member))
    if not Path(wanted.file).exists():
        raise RuntimeError(f"log-probabilities: {read_attempts(Path(wanted.folder, 'work'))[-1]['why']}")
    compared_with = Compared(wanted.file, wanted.key)
    work = bench.train(
        f"dpo-{adapter}", rows, parent="parent", compared_with=compared_with, objective="dpo", adapter=adapter,
        dropout=0.0,
    )  # fmt: skip
    steps = [line for line in records(work) if "loss" in line]
    off = abs(steps[0]["loss"] - math.log(2))
    # In float32 that of sums of logarithms; in 16 bits a unit in the last place of a number around 1.
    most = max(torch.finfo(compute_dtype()).eps, CLOSE)
    first, last = steps[0]["reward_margin"], steps[-1]["reward_margin"]
    return Found(
        f"first loss {off:.1e} from ln 2 (at most {most:.1e}); margin {first:+.3f} → {last:+.3f} nats",
        off <= most and last > max(first, 0),
        {"first_loss_off": off, "first_margin": first, "last_margin": last},
    )


def find_flash(bench: GpuBench) -> Found:
    """Rows one after the other in a sequence, against the same rows padded."""
    if flash_attention(bench.model().folder) is None:
        raise LeftOut("flash-attn is not installed, or the card's compute capability is below 8")
    rows = bench.dialogues()
    works = [bench.train("in-one-sequence", rows)]
    with mock.patch("loragrid.training.train.flash_attention", return_value=None):
        works.append(bench.train("padded", rows))
    losses = [[line["loss"] for line in records(work) if "loss" in line] for work in works]
    speeds = [
        statistics.median(line["tokens_per_second"] for line in list(read_jsonl(work / "usage.jsonl"))[2:])
        for work in works
    ]
    off = max(abs(one / other - 1) for one, other in zip(*losses, strict=True))
    apart = keep_apart(bench)
    figure = f"losses at most {off:.2%} off; {speeds[0]:,.0f} tokens/s, padded {speeds[1]:,.0f}; rows "
    figure += "do not see each other" if apart else "SEE EACH OTHER"
    return Found(figure, apart and off <= 0.01, {"loss_off": off, "tokens_per_second": speeds, "apart": apart})


def keep_apart(bench: GpuBench) -> bool:
    """Whether a row's outcome is the same bit for bit whatever row is before it in the sequence."""
    model: Any = load.load_base(bench.model().folder, "nf4", attention=FLASH)
    position, outcomes = torch.arange(64).repeat(2)[None].to(device()), []
    torch.manual_seed(0)
    first, other, row = torch.randint(3, 200, (3, 64))
    for before in (first, other):
        with torch.inference_mode():
            ids = torch.cat([before, row])[None].to(device())
            outcomes.append(model(input_ids=ids, position_ids=position, use_cache=False).logits[0, 64:])
    return bool(torch.equal(*outcomes))


def find_exhausted(bench: GpuBench) -> Found:
    """A memory that is too small for the micro-batch, which is halved."""
    settings = {"learning_rate": 1e-4, "max_steps": 2, "evaluations": 1}
    rows = bench.noise("short", [64 if bench.small else 512] * 16)
    with exhausted(bench, rows, settings):
        work = bench.train("exhausted", rows, **settings)
    run = read_json(work / "run.json")
    same = bench.train("roomy", rows, micro_batch=run["micro_batch"], **settings)
    off = distance(work, same)
    how = [attempt["ended"] for attempt in read_attempts(work)]
    values = {"attempts": how, "micro_batch": run["micro_batch"], "off": off}
    figure = f"attempts: {', '.join(how)}; {MICRO_BATCH} → {run['micro_batch']} rows at a time; {off:.1e} off"
    passed = "out of memory" in how and run["micro_batch"] < MICRO_BATCH and off <= CLOSE
    return Found(figure + (" (error injected: a CPU has no memory of its own)" if bench.small else ""), passed, values)


@contextlib.contextmanager
def exhausted(bench: GpuBench, rows: str, settings: dict[str, Any]) -> Iterator[None]:
    """Let the GPU have a little less memory than the run needs; without a GPU, raise what it would raise."""
    if torch.cuda.is_available():
        work = bench.train("measured", rows, **settings)
        needed = read_json(work / "run.json")["cost"]["peak_memory_bytes"]
        torch.cuda.set_per_process_memory_fraction(0.97 * needed / torch.cuda.get_device_properties(0).total_memory)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    step = sft.SupervisedTrainer.training_step

    def training_step(trainer: Any, model: Any, inputs: dict[str, Any], *rest: Any) -> Any:
        if len(inputs["input_ids"]) > MICRO_BATCH // 2:
            raise torch.OutOfMemoryError("injected")
        return step(trainer, model, inputs, *rest)

    with mock.patch.object(sft.SupervisedTrainer, "training_step", training_step):
        yield


def find_tinyllama(bench: GpuBench) -> Found:
    """TinyLlama-1.1B in NF4."""
    return at_full_size(bench, "tinyllama")


def find_llama(bench: GpuBench) -> Found:
    """A model of 7B in NF4."""
    return at_full_size(bench, "llama-2-7b")


def at_full_size(bench: GpuBench, name: str) -> Found:
    """Memory and speed of a training at its study's settings."""
    work, recipe = bench.train_large(name)
    size, length = dimensions(bench.model(name)), recipe.max_length
    usage = list(read_jsonl(work / "usage.jsonl"))
    speed = statistics.median(line["tokens_per_second"] for line in usage[2:])  # the first ones warm up
    # Forward and the gradients of the activations, 2 operations a weight and token each (as in estimates/time.py);
    # what is computed again does not count as work done.
    weights = size.linear + size.vocabulary * size.hidden
    operations = 2 * (2 * weights + 4 * size.layers * size.heads * size.head_width * length)
    share = speed * operations / matrix_rate(bench)
    figure = f"{speed:,.0f} tokens/s, {share:.1%} of the matrix rate"
    values = {"tokens_per_second": speed, "of_matrix_rate": share, "parameters": size.parameters}
    estimate = training_memory(
        size, bench.device(), "nf4", recipe, micro_batch=MICRO_BATCH, length=length, file_bytes=2
    )  # fmt: skip
    taken = max(line["memory_bytes"] for line in usage)
    if not torch.cuda.is_available():
        figure += f"; {gib(taken)} of memory, all checks together: not compared with the estimate on a CPU"
        return Found(figure, True, values | {"memory_bytes": taken})
    free, total = torch.cuda.mem_get_info()
    taken += total - free - torch.cuda.memory_reserved()  # what CUDA itself takes
    off = estimate.gpu / taken - 1
    halvings = read_json(work / "run.json")["out_of_memory"]
    figure += f"; {gib(taken)} of memory, estimated {gib(estimate.gpu)} ({off:+.0%})"
    values |= {"memory_bytes": taken, "estimated_bytes": estimate.gpu, "out_of_memory": halvings}
    if halvings:
        return Found(f"{figure}; too much for this card {halvings} times", False, values)
    return Found(figure, abs(off) <= WITHIN, values)


def find_answers(bench: GpuBench) -> Found:
    """Answers a second of the 7B with its adapter."""
    bench.train_large("llama-2-7b")
    run = bench.member("llama-2-7b", "data/formatted", model="llama-2-7b")
    longest = 8 if bench.small else 64
    prompts = Path("data/prompts/made.jsonl")
    write_jsonl(prompts, ({"id": f"{number}", "messages": dialogue(number)[:-1]} for number in range(16)))
    member = bench.asked(run, prompts, longest)
    generate_batch(batch_of("generate", member), no_scores)
    work = Path(member.answers.folder, "work")
    if not (work / "generation.json").exists():
        raise RuntimeError(f"answers: {read_attempts(work)[-1]['why']}")
    made = read_json(work / "generation.json")
    per_second, tokens = made["answers"] / made["seconds"], made["answer_tokens"] / made["seconds"]
    rows = made["rows_at_a_time"]
    figure = f"{per_second:.2f} answers/s, {tokens:.0f} tokens/s, {rows} at a time, at most {longest} tokens each"
    return Found(figure, made["answers"] == 16, {"answers_per_second": per_second, "tokens_per_second": tokens})


def find_vllm(bench: GpuBench) -> Found:
    """Answers of a base and two adapters by vLLM, against those by transformers."""
    try:
        executable_of()
    except NodeError as error:
        raise LeftOut(str(error)) from error
    runs = []
    for name, rank in (("low", 4), ("high", 16)):
        bench.train(f"vllm-{name}", bench.dialogues(), rank=rank, learning_rate=1e-3, max_steps=2 * bench.steps)
        runs.append(bench.member(f"vllm-{name}", bench.dialogues(), rank=rank, max_steps=2 * bench.steps))
    prompts = Path("data/prompts/many.jsonl")
    write_jsonl(prompts, ({"id": f"{n}", "messages": dialogue(n)[:-1]} for n in range(8 if bench.small else 64)))
    found, speeds = {}, {}
    for backend in ("transformers", "vllm"):
        members = []
        for number, run in enumerate([*runs, None]):
            member = bench.asked(run or runs[0], prompts, 8 if bench.small else 64)
            folder = f"results/{backend}-{number}"
            answers = replace(member.answers, folder=folder, backend=backend)
            parts = {"generations": f"{folder}/generations.jsonl"}
            members.append(replace(member, answers=answers, parts=parts, run=run.run if run else None))
        generate_batch(batch_of("generate", *members), no_scores)
        works = [member.work for member in members]
        if not all((work / "generation.json").exists() for work in works):
            raise RuntimeError(f"{backend}: {read_attempts(works[0])[-1]['why']}")
        found[backend] = [[row["answer"] for row in read_jsonl(work / "generations.jsonl")] for work in works]
        took = [read_json(work / "generation.json") for work in works]
        speeds[backend] = sum(each["answers"] for each in took) / sum(each["seconds"] for each in took)
    pairs = [[*zip(*both, strict=True)] for both in zip(found["transformers"], found["vllm"], strict=True)]
    same = [statistics.mean(one == other for one, other in each) for each in pairs]
    first = [statistics.mean(one.split()[:1] == other.split()[:1] for one, other in each) for each in pairs]
    figure = (
        f"{speeds['vllm']:.1f} answers/s, transformers {speeds['transformers']:.1f}; the same first words: "
        f"{', '.join(f'{share:.0%}' for share in first)}; the same answers: {', '.join(f'{s:.0%}' for s in same)} "
        "(two adapters, base)"
    )
    values = {"same_answers": same, "same_first_words": first, "answers_per_second": speeds}
    return Found(figure, min(first[:2]) >= 0.9, values)


def no_scores(*_: Any) -> None:
    """Nothing is scored here."""


FIND: dict[str, Callable[[GpuBench], Found]] = {
    "matrix-rate": find_rate,
    "sft": find_sft,
    "sft-fp16": find_sft_fp16,
    "adamw-8bit": find_8bit,
    "paged-adamw": find_paged,
    "dpo-continue": find_continue,
    "dpo-stack": find_stack,
    "flash-attention": find_flash,
    "exhausted-memory": find_exhausted,
    "tinyllama": find_tinyllama,
    "llama-2-7b": find_llama,
    "answers": find_answers,
    "vllm": find_vllm,
}
"""By the names of gpu.py, which has their goals."""


# -- the process


def work_on(names: list[str], small: bool, until: float, out: Path) -> None:
    """Make checks in this process until one fails, a line of the file for each; before them, one about the card."""
    small = small or not torch.cuda.is_available()
    bench = GpuBench(small)
    note(out, {"about": about(small)})
    for name in names:
        began, left = time.time(), int(until - time.time())
        if left < 1:
            note(out, {"name": name, "outcome": "left out", "figure": "no time was left"})
            continue
        note(out, {"begins": name})
        release_memory()  # of products and earlier checks; peaks are measured anew
        signal.alarm(left if small else min(LIMIT, left))  # ends this process, wherever it hangs
        outcome: dict[str, Any] = {}
        try:
            found = FIND[name](bench)
            outcome = {"outcome": "passed" if found.passed else "failed", **vars(found)}
            del outcome["passed"]
        except LeftOut as reason:
            outcome = {"outcome": "left out", "figure": str(reason)}
        except Exception as error:
            outcome = {"outcome": "failed", "figure": f"{type(error).__name__}: {error}"}
            outcome["traceback"] = traceback.format_exc()
        signal.alarm(0)
        note(out, {"name": name, **outcome, "seconds": round(time.time() - began, 1)})
        if outcome["outcome"] == "failed":
            return


def note(file: Path, record: dict[str, Any]) -> None:
    """Append a line."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(record, ensure_ascii=False) + "\n")


def about(small: bool) -> dict[str, Any]:
    """Card, versions and the date."""
    found = {"date": f"{date.today()}", "small": small, "machine": platform.machine(), **describe()}
    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        found |= {"memory_bytes": card.total_memory, "capability": f"{card.major}.{card.minor}"}
        found["cuda"] = torch.version.cuda
    return found


if __name__ == "__main__":
    work_on(sys.argv[4:], sys.argv[3] == "small", float(sys.argv[2]), Path(sys.argv[1]))
