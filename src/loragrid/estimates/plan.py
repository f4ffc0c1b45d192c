"""What a study would run and what it would take, told before anything is downloaded or submitted."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from loragrid.estimates.devices import DEVICES, GIB, Device
from loragrid.estimates.judging import judging_line
from loragrid.estimates.requests import MEMORY_MARGIN, TIME_MARGIN, Estimator, Need
from loragrid.jobs.vllm_program import what_is_missing as no_vllm
from loragrid.judging.endpoint import what_is_missing as no_judge
from loragrid.study.batches import is_trained, missing_parts
from loragrid.study.grid import Answers, Grid, Run, Untrained
from loragrid.study.members import has_failed
from loragrid.study.planning import Plan
from loragrid.study.preflights import found_before, refusals

Cell = tuple[str, str]
"""A model, by the name that the study gives it, and a dataset or a precision."""

SHARDS = (2, 4, 8, 16)
"""Numbers of GPUs that a node may have."""

JOB = 30 * 60
"""Seconds of work in a job of several members, as `batch_minutes` is by default."""

Misfit = tuple[float, Sequence[Run | Answers]]
"""Bytes that a GPU would need, and what for."""


def summary(grid: Grid, plan: Plan, estimator: Estimator) -> str:
    """The plan in a few lines: runs by model and dataset, what exists already, estimated hours."""
    total, done, hopeless = Counter[Cell](), Counter[Cell](), Counter[Cell]()
    to_train = defaultdict[Cell, list[Run]](list)
    refused = refusals(grid)
    for folder, run in grid.runs.items():
        cell = grid.models[run.model].label, run.dataset
        total[cell] += 1
        if is_trained(run):
            done[cell] += 1
        elif run.folder in refused or has_failed(Path(folder, "work")):
            hopeless[cell] += 1
        else:
            to_train[cell].append(run)
    hours = {cell: _hours_of_jobs(runs, estimator) for cell, runs in to_train.items()}
    missing = _missing_answers(plan, estimator)
    known = [answers for answers in missing.values() if estimator.knows(answers.model)]
    answering = _hours_of_jobs(known, estimator)
    unknown = {model.label for model in grid.models.values() if not estimator.knows(model.id)}
    rows: list[tuple[str, ...]] = [("model", "dataset", "runs", "trained", "to train", _unit(estimator.device))]
    for cell, number in total.items():
        left = number - done[cell] - hopeless[cell]
        text = "0" if not left else "?" if cell[0] in unknown else f"{hours[cell]:.2g}"
        rows.append((*cell, str(number), str(done[cell]), str(left), text))
    asked = set(grid.untrained) - {answers.subject for answers in missing.values()}
    training = sum(value for cell, value in hours.items() if cell[0] not in unknown)
    return "\n".join(
        [
            f"study {grid.study}: {grid.title}",
            *("  " + line for line in _table(rows, names=2)),
            f"  untrained models: {len(grid.untrained)} ({len(asked)} asked already); "
            f"answers to make: {len(missing)} of {len(grid.answers)}",
            f"  estimated: {training:.2g} {_unit(estimator.device)} of training, {answering:.2g} of answers "
            f"on {_called(estimator.device)} ({_basis(estimator)}; run by run: loragrid plan {grid.study})",
            *(f"  {line}" for line in _comparison_lines(plan, estimator)),
            *(f"  {line}" for line in _encoder_lines(grid, plan, estimator)),
            *(["  " + judging] if (judging := judging_line(grid, estimator.workload)) else []),
            *_unknown_lines(unknown),
        ]
    )


def detailed(grid: Grid, plan: Plan, estimator: Estimator) -> str:
    """The plan with a line for each run and each untrained model, totals, and what does not fit the device."""
    device = estimator.device
    to_ask = defaultdict[str, list[Answers]](list)
    missing = _missing_answers(plan, estimator)
    for answers in missing.values():
        to_ask[answers.subject].append(answers)
    failed = {answers.subject for id_, answers in grid.answers.items() if id_ not in missing and missing_parts(answers)}
    heading = ("model", "dataset", "run", "GPUs", "GPU GiB", "host GiB", "training", "answers", _unit(device), "from")
    rows: list[tuple[str, ...]] = [heading]
    to_go, unknown, misfits = list[Run | Answers](), set[str](), defaultdict[Cell, list[Misfit]](list)
    refused = refusals(grid)
    for folder, subject in (grid.runs | grid.untrained).items():
        names = _names(grid, subject)
        training = [subject] if isinstance(subject, Run) and not is_trained(subject) else []
        if training and (folder in refused or has_failed(Path(folder, "work"))):
            rows.append((*names, *[""] * 6, "cannot be trained" if folder in refused else "failed"))
            continue
        # Answers that are missing, and that no start would make.
        answered = "failed" if folder in failed and not to_ask[folder] else "done"
        parts: list[Run | Answers] = [*training, *to_ask[folder]]
        if not parts:
            rows.append((*names, *[""] * 6, answered))
        elif not estimator.knows(subject.model):
            unknown.add(names[0])
            rows.append((*names, *["?"] * 6, "no estimate"))
        else:
            needs = [estimator.need(part) for part in parts]
            to_go += parts
            trained = "done" if isinstance(subject, Run) else ""
            rows.append(
                (
                    *names,
                    *_sizes(needs),
                    _clock(needs[: len(training)]) or trained,
                    _clock(needs[len(training) :]) or answered,
                    f"{sum(map(_gpu_hours, needs)):.2g}",
                    _source(needs),
                )
            )
            if not _fit(needs, device):
                misfits[names[0], subject.precision].append((max(need.memory.gpu or 0 for need in needs), parts))
    lines = [
        f"study {grid.study}: {grid.title}",
        *_table(rows, names=3),
        "",
        f"{_hours_of_jobs(to_go, estimator):.3g} {_unit(device)} to go, on {_called(device)}: {_basis(estimator)}.",
        *_comparison_lines(plan, estimator),
        *_encoder_lines(grid, plan, estimator),
        "Jobs of several members load their base once; each line above counts that for itself.",
        f"Jobs ask for {MEMORY_MARGIN - 1:.0%} more of the host's memory, {TIME_MARGIN - 1:.0%} more time and some "
        f"minutes. Another GPU: --device {' | '.join(DEVICES)}",
    ]
    if judging := judging_line(grid, estimator.workload):
        lines.append(f"{judging[0].upper()}{judging[1:]}.")
    if guessed := sorted(grid.models[id_].label for id_, size in estimator.sizes.items() if size and size.guessed):
        lines.append(f"Dimensions are guessed from `parameters` until the download: {', '.join(guessed)}.")
    if uncounted := estimator.workload.uncounted():
        lines.append(
            f"Rows and tokens are those usual in its source until the data is formatted: {', '.join(uncounted)}."
        )
    lines += [line.strip() for line in _unknown_lines(unknown)]
    if found := found_before(grid):
        lines += ["", "Before training:", *(f"  - {line}" for line in found)]
    if misfits:
        lines += ["", f"Does not fit {_called(device)}, which has {(device.memory or 0) / GIB:.3g} GiB:"]
        lines += [f"  {', '.join(cell)}: {_misfit(found, estimator)}" for cell, found in misfits.items()]
    return "\n".join(lines)


def missing_here(plan: Plan) -> Iterator[str]:
    """What jobs will need that this machine does not have: vLLM, or a judge.

    Jobs take the environment of this machine, so that most often they will not have it either.
    """
    for is_wanted, missing in ((plan.by_vllm, no_vllm), (plan.judge, no_judge)):
        if is_wanted and (why := missing()):
            yield why


def _comparison_lines(plan: Plan, estimator: Estimator) -> list[str]:
    """What runs by DPO are compared with: a sentence, if something of it is still to be computed."""
    ids = [
        member.log_probabilities.id for batch in plan.log_probabilities.values() for member in estimator.known(batch)
    ]
    if not ids:
        return []
    needs = [estimator.compared(estimator.grid.log_probabilities[id_]) for id_ in ids]
    hours = sum(map(_gpu_hours, needs))
    return [f"what DPO compares with: {len(ids)} to compute, estimated {hours:.2g} {_unit(estimator.device)}"]


def _encoder_lines(grid: Grid, plan: Plan, estimator: Estimator) -> list[str]:
    """What encoders have to do: a sentence, if that is anything."""
    batches = [batch for batch in plan.score_by_encoder.values() if estimator.known(batch)]
    if not batches:
        return []
    requests = [estimator.scoring_by_encoder(batch) for batch in batches]
    scores = [
        member.answers.scores[id_] for batch in batches for member in estimator.known(batch) for id_ in member.parts
    ]
    needed = {score["encoded"]["references"] for score in scores}
    missing = [grid.references[id_] for id_ in sorted(needed) if not Path(grid.references[id_].file).exists()]
    requests += [estimator.encoding(references) for references in missing]
    encoders = sorted({grid.encoders[grid.references[id_].encoder].slug for id_ in needed})
    hours = sum(request.minutes for request in requests) / 60
    return [
        f"scores by an encoder ({', '.join(encoders)}): {len(scores)} to make, references to encode: "
        f"{len(missing)}; their jobs ask for {hours:.2g} {_unit(estimator.device)} together"
    ]


def _missing_answers(plan: Plan, estimator: Estimator) -> dict[str, Answers]:
    ids = (member.answers.id for batch in plan.generate.values() for member in estimator.known(batch))
    return {id_: estimator.grid.answers[id_] for id_ in ids}


def _names(grid: Grid, subject: Run | Untrained) -> tuple[str, str, str]:
    label = grid.models[subject.model].label
    if isinstance(subject, Run):
        return label, subject.dataset, subject.label or subject.name
    return label, "", f"untrained, {subject.precision}"


def _gpu_hours(need: Need) -> float:
    return need.gpus * need.seconds / 3600


def _hours_of_jobs(parts: Iterable[Run | Answers], estimator: Estimator) -> float:
    """GPU hours of all parts, in jobs of several that load their base, or start its server, once."""
    groups = defaultdict[tuple[str, ...], list[Need]](list)
    for part in parts:
        backend = part.backend if isinstance(part, Answers) else "training"
        groups[part.model, part.precision, backend].append(estimator.need(part))
    seconds = 0.0
    for needs in groups.values():
        jobs = min(len(needs), math.ceil(sum(need.seconds - need.loading for need in needs) / JOB))
        seconds += sum(need.gpus * (need.seconds - need.loading) for need in needs)
        seconds += jobs * max(need.gpus * need.loading for need in needs)
    return seconds / 3600


def _sizes(needs: Sequence[Need]) -> tuple[str, str, str]:
    """GPUs, memory of each, memory of the host."""
    host = f"{max(need.memory.host for need in needs) / GIB:.1f}"
    on_gpu = [need.memory.gpu for need in needs if need.memory.gpu is not None]
    if not on_gpu:
        return "", "", host
    return str(max(need.gpus for need in needs)), f"{max(on_gpu) / GIB:.1f}", host


def _clock(needs: Sequence[Need]) -> str:
    """Hours and minutes; nothing for no needs."""
    minutes = round(sum(need.seconds for need in needs) / 60)
    return f"{minutes // 60}:{minutes % 60:02}" if needs else ""


def _source(needs: Sequence[Need]) -> str:
    measured = [need.measured for need in needs]
    return "measured" if all(measured) else "partly measured" if any(measured) else "estimate"


def _fit(needs: Sequence[Need], device: Device) -> bool:
    return device.memory is None or all((need.memory.gpu or 0) <= device.memory for need in needs)


def _misfit(misfits: Sequence[Misfit], estimator: Estimator) -> str:
    """How much memory the worst needs that a GPU does not have, and what would make that fit."""
    needed, parts = max(misfits, key=lambda misfit: misfit[0])
    remedies = list(_remedies(parts, estimator)) or ["no GPU known here has as much"]
    lines = "1 line" if len(misfits) == 1 else f"{len(misfits)} lines"
    return f"needs {needed / GIB:.1f} GiB a GPU ({lines} above); {', or '.join(remedies)}"


def _remedies(parts: Sequence[Run | Answers], estimator: Estimator) -> Iterator[str]:
    model, precision = estimator.grid.models[parts[0].model], parts[0].precision
    device = estimator.device

    def fit(micro_batch: int, precision: str, device: Device, shards: int | None = None) -> bool:
        return _fit([estimator.estimated(part, micro_batch, precision, device, shards) for part in parts], device)

    smaller = (size for size in range(model.micro_batch - 1, 0, -1) if fit(size, precision, device))
    if size := next(smaller, None):
        yield f"`micro_batch: {size}` fits"
    if precision != "nf4":
        sizes = (size for size in range(model.micro_batch, 0, -1) if fit(size, "nf4", device))
        if size := next(sizes, None):
            with_size = "" if size == model.micro_batch else f" and `micro_batch: {size}`"
            yield f"NF4 (`method: qlora`){with_size} fits"
    batches = [part.recipe.batch_size for part in parts if isinstance(part, Run)]
    shareable = (gpus for gpus in SHARDS if gpus > model.gpus and not any(size % gpus for size in batches))
    if gpus := next((gpus for gpus in shareable if fit(model.micro_batch, precision, device, gpus)), None):
        yield f"`gpus: {gpus}` with `sharded: true` fits"
    larger = [
        other.name
        for other in DEVICES.values()
        if (other.memory or 0) > (device.memory or 0) and fit(model.micro_batch, precision, other)
    ]
    if larger:
        yield f"a larger GPU ({', '.join(larger)})"


def _unit(device: Device) -> str:
    return "GPU hours" if device.is_gpu else "hours"


def _called(device: Device) -> str:
    return f"one {device.name.upper()}" if device.is_gpu else "one thread of this CPU"


def _basis(estimator: Estimator) -> str:
    return "from what earlier runs took" if estimator.measured else "a rough estimate"


def _unknown_lines(unknown: set[str]) -> list[str]:
    return [f"  no estimate for {name}: give `parameters` to the model" for name in sorted(unknown)]


def _table(rows: Sequence[tuple[str, ...]], names: int) -> list[str]:
    """Aligned columns: the first so many to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if index < names else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
