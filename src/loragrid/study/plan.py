"""What a study would run, told before anything is downloaded or submitted."""

from collections import Counter, defaultdict
from pathlib import Path

from loragrid.errors import UserError
from loragrid.files import read_json
from loragrid.study.batches import Plan, is_trained
from loragrid.study.grid import BaseModel, Grid, Run
from loragrid.study.registry import Registry
from loragrid.study.schema import Build

T4_FLOPS = 9e12
"""Operations a second that a T4 sustains in LoRA training over a 16-bit base.

Its peak in fp16 is 65e12 (NVIDIA T4 datasheet); a share of 14 % is what a Llama-2-7B reaches there.
"""

NF4_SLOWDOWN = 1.6
"""NF4 against a 16-bit base (litgpt's finetune tutorial, A100)."""

GRADIENT_CHECKPOINTING = 6
"""Operations per parameter and token: forward 2, recomputed forward 2, gradients of activations 2 (no base weights)."""


def summary(grid: Grid, plan: Plan, registry: Registry) -> str:
    """The plan as text: runs by model and dataset, what exists already, estimated GPU hours."""
    trained = {folder for folder, run in grid.runs.items() if is_trained(run)}
    answered = {answers.subject for answers in grid.answers.values()} - {
        member["answers"]["subject"] for batch in plan.generate.values() for member in batch.members
    }
    total, done = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    hours = defaultdict[tuple[str, str], float](float)
    measured = _measured_rates(grid, trained)
    unknown = set()
    for folder, run in grid.runs.items():
        cell = grid.models[run.model].label, run.dataset
        total[cell] += 1
        if folder in trained:
            done[cell] += 1
            continue
        estimate = _gpu_hours(run, grid, registry, measured)
        if estimate is None:
            unknown.add(cell[0])
        else:
            hours[cell] += estimate
    lines = [f"study {grid.study}: {grid.title}"]
    rows = [("model", "dataset", "runs", "trained", "to train", "GPU hours")]
    for cell, number in total.items():
        left = number - done[cell]
        text = "?" if cell[0] in unknown else f"{hours[cell]:.2g}" if left else "0"
        rows.append((*cell, str(number), str(done[cell]), str(left), text))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        names = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
        lines.append("  " + "  ".join(names + [t.rjust(w) for t, w in zip(row[2:], widths[2:], strict=True)]))
    lines.append(
        f"  untrained models: {len(grid.untrained)} ({len(answered & set(grid.untrained))} asked already); "
        f"answers to make: {len(plan.generate)} of {len(grid.answers)}"
    )
    how = "from the runs measured so far" if measured else "a rough guess for one T4"
    lines.append(f"  estimated training: {sum(hours.values()):.2g} GPU hours ({how})")
    lines += [f"  no estimate for {name}: give `parameters` to the model" for name in sorted(unknown)]
    return "\n".join(lines)


def _measured_rates(grid: Grid, trained: set[str]) -> dict[tuple[str, str], float]:
    """Seconds a token, by model and precision, over the runs that are there."""
    seconds = defaultdict[tuple[str, str], float](float)
    tokens = Counter[tuple[str, str]]()
    for folder in trained:
        run = grid.runs[folder]
        try:
            cost = read_json(Path(folder, "run.json"))["cost"]
        except (UserError, KeyError):
            continue  # told where it matters, when the run is used
        seconds[run.model, run.precision] += cost["seconds"]
        tokens[run.model, run.precision] += cost["tokens"]
    return {which: seconds[which] / tokens[which] for which in seconds if tokens[which]}


def _gpu_hours(run: Run, grid: Grid, registry: Registry, measured: dict[tuple[str, str], float]) -> float | None:
    model = grid.models[run.model]
    tokens = _tokens(run, grid, registry)
    if (rate := measured.get((run.model, run.precision))) is not None:
        return tokens * rate / 3600
    parameters = _parameters(model)
    if parameters is None:
        return None
    slowdown = NF4_SLOWDOWN if run.precision == "nf4" else 1.0
    return tokens * parameters * GRADIENT_CHECKPOINTING * slowdown / T4_FLOPS / 3600


def _tokens(run: Run, grid: Grid, registry: Registry) -> float:
    """Tokens seen in training: as formatted if that is done, else from the source's usual size."""
    recipe = run.recipe
    size = registry.sources[grid.clean[run.clean].source].SIZE
    rows, per_row = size.rows.get("train", 0), size.tokens
    counted = Path(grid.formatted[run.formatted].folder, "format.json")
    if counted.exists():
        train = read_json(counted)["splits"]["train"]
        rows, per_row = train["rows"], train["tokens"] / max(train["rows"], 1)
    else:
        rows = min(rows, grid.clean[run.clean].rows.get("train", rows))
    seen = rows * recipe["epochs"]
    if recipe["max_steps"]:
        seen = min(seen, recipe["max_steps"] * recipe["batch_size"])
    return seen * min(per_row, recipe["max_length"])


def _parameters(model: BaseModel) -> float | None:
    if model.build is not None:
        return Build.model_validate(model.build).parameters
    return model.parameters
