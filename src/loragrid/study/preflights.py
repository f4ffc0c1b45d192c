"""What is settled before any GPU is used: which settings a model and its data are looked at for, and what was found."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import canonical, read_json
from loragrid.study.grid import Answers, Grid, Preflight, Run
from loragrid.study.keys import PREFLIGHT_VERSION, key_of, short

TRAINING = ("target_modules", "rank", "batch_size", "epochs", "max_steps", "warmup", "lora_config")
"""Fields of a recipe that may be too much for a model or its data."""


def training_of(run: Run) -> dict[str, Any]:
    """What is looked at of a run."""
    return {"precision": run.precision, **{name: getattr(run.recipe, name) for name in TRAINING}}


Settings = dict[str, dict[str, Any]]
"""Settings by their canonical text, so that equal ones are there once."""


def preflights_of(grid: Grid) -> dict[str, Preflight]:
    """What each model is to be looked at for, by id: with each formatted data, and with what it is asked untrained.

    That is looked at by itself, so that data that cannot be formatted holds up no answers of a model as it is.
    """
    trainings, asked = defaultdict[str, Settings](dict), defaultdict[str, Settings](dict)
    for run in grid.runs.values():
        settings = training_of(run)
        trainings[run.formatted][canonical(settings)] = settings
    for answers in grid.answers.values():
        if run_asked := grid.runs.get(answers.subject):
            asked[run_asked.formatted].update(_asked(answers))
    found = [_with_data(grid, id_, of_runs, asked[id_]) for id_, of_runs in trainings.items()]
    alone = defaultdict[tuple[str, str], Settings](dict)
    for answers in grid.answers.values():
        if answers.subject in grid.untrained:
            alone[answers.model, _chat(answers.chat)].update(_asked(answers))
    found += [_without_data(grid, model, json.loads(chat), settings) for (model, chat), settings in alone.items()]
    return {preflight.id: preflight for preflight in found}


def preflight_of_answers(grid: Grid) -> dict[str, Preflight]:
    """Which preflight looks at what a subject is asked, by the folder of its answers."""
    of_data = {each.formatted: each for each in grid.preflights.values() if each.formatted}
    alone = {(each.model, _chat(each.chat)): each for each in grid.preflights.values() if not each.formatted}
    found = {}
    for folder, answers in grid.answers.items():
        run = grid.runs.get(answers.subject)
        found[folder] = of_data[run.formatted] if run else alone[answers.model, _chat(answers.chat)]
    return found


def _with_data(grid: Grid, formatted: str, trainings: Settings, asked: Settings) -> Preflight:
    data = grid.formatted[formatted]
    settings = {"trainings": _in_order(trainings), "asked": _in_order(asked)}
    # The model is not in the key of what is formatted for it.
    parts = {"formatted": data.key, "model": grid.models[data.model].key, "version": PREFLIGHT_VERSION}
    key = key_of("preflight", {**settings, **parts})
    return Preflight(f"{formatted}-{short(key)}", key, data.model, data.chat, formatted, **settings)


def _without_data(grid: Grid, model: str, chat: dict[str, Any], asked: Settings) -> Preflight:
    settings = _in_order(asked)
    parts = {"chat": chat, "model": grid.models[model].key, "version": PREFLIGHT_VERSION}
    key = key_of("preflight", {"asked": settings, **parts})
    return Preflight(f"{model}/untrained-{short(key)}", key, model, {"name": None, **chat}, None, [], settings)


def _in_order(settings: Settings) -> list[dict[str, Any]]:
    return [settings[each] for each in sorted(settings)]


def _chat(chat: Mapping[str, Any]) -> str:
    """What a chat is, whatever a study calls it."""
    return canonical({name: value for name, value in chat.items() if name != "name"})


def _asked(answers: Answers) -> Settings:
    settings = {
        "precision": answers.precision,
        "prompts": answers.prompts,
        "in_chat": answers.in_chat,
        "choices": not answers.decoding,
        "max_new_tokens": answers.decoding["max_new_tokens"] if answers.generations else 0,
        "likelihood": any(score["name"] == "likelihood" for score in answers.scores.values()),
    }
    return {canonical(settings): settings}


@dataclass(frozen=True)
class Refusal:
    """Why a run is not trained, or a model not asked.

    Args:
        reason: for people.
        file: the report that says so; as long as it is there, the refusal stands.
    """

    reason: str
    file: str


def read_report(file: str | Path) -> dict[str, Any] | None:
    """What was found; None as long as it was not looked for, or where the report is damaged."""
    try:
        found = read_json(Path(file)) if Path(file).exists() else None
    except UserError:
        return None
    wanted = {"unusable", "refused", "unasked", "warnings"}
    return found if isinstance(found, dict) and found.keys() >= wanted else None


def refusal_of(run: Run, file: str) -> Refusal | None:
    """Why a run cannot be trained; None if that is not known.

    Args:
        run: the run.
        file: the report about its data.
    """
    wanted = training_of(run)
    report = read_report(file) or {"refused": []}
    return next((Refusal(each["reason"], file) for each in report["refused"] if each["training"] == wanted), None)


def refusal_to_ask(answers: Answers, file: str) -> Refusal | None:
    """Why a model cannot be asked; None if that is not known.

    Args:
        answers: what it is asked.
        file: the report about it.
    """
    report = read_report(file)
    return _refusal_to_ask(answers, report, file) if report else None


def _refusal_to_ask(answers: Answers, report: Mapping[str, Any], file: str) -> Refusal | None:
    if reason := report["unusable"].get(answers.precision):
        return Refusal(reason, file)
    if not report["unasked"]:
        return None
    wanted = _asked(answers)
    return next(
        (Refusal(each["reason"], file) for each in report["unasked"] if canonical(each["asked"]) in wanted), None
    )


def refusals_to_ask(grid: Grid) -> dict[str, Refusal]:
    """Why models of a study cannot be asked, by the folder of the answers; `refusals` says why runs are not trained."""
    reports = {preflight.file: read_report(preflight.file) for preflight in grid.preflights.values()}
    found: dict[str, Refusal] = {}
    if not any(report and (report["unusable"] or report["unasked"]) for report in reports.values()):
        return found
    for folder, preflight in preflight_of_answers(grid).items():
        report = reports[preflight.file]
        if report and (refusal := _refusal_to_ask(grid.answers[folder], report, preflight.file)):
            found[folder] = refusal
    return found


def refusals(grid: Grid) -> dict[str, Refusal]:
    """Why runs of a study that are still to be trained cannot be, their children included, by the run's folder."""
    file_of = {preflight.formatted: preflight.file for preflight in grid.preflights.values() if preflight.formatted}
    reports = {file: read_report(file) for file in file_of.values()}
    found: dict[str, Refusal] = {}
    if not any(report and report["refused"] for report in reports.values()):
        return found
    for run in _parents_first(grid):
        if Path(run.folder, "run.json").exists():
            continue
        if run.parent in found:
            above = found[run.parent]
            found[run.folder] = Refusal(f"its parent run {Path(run.parent).name} failed: {above.reason}", above.file)
        elif refusal := refusal_of(run, file_of[run.formatted]):
            found[run.folder] = refusal
    return found


def _parents_first(grid: Grid) -> Iterator[Run]:
    left = dict(grid.runs)
    while left:
        for folder, run in list(left.items()):
            if run.parent not in left:
                del left[folder]
                yield run


@dataclass(frozen=True)
class Finding:
    """What a preflight has found.

    Args:
        model: as the study calls it.
        datasets: likewise; several, if it is of an untrained model that is asked about several.
        text: what is refused or doubtful.
    """

    model: str
    datasets: tuple[str, ...]
    text: str


def findings(grid: Grid) -> list[Finding]:
    """All that preflights have found of a study: what is refused, then what is doubtful."""
    reports = {preflight.id: read_report(preflight.file) for preflight in grid.preflights.values()}
    if not any(reports.values()):
        return []
    asked_about = defaultdict[str, list[Answers]](list)
    for folder, preflight in preflight_of_answers(grid).items():
        asked_about[preflight.id].append(grid.answers[folder])
    # What several have found, such as of prompts that all models are asked, is told once.
    found = defaultdict[tuple[str, str], dict[str, None]](dict)
    for preflight in grid.preflights.values():
        report = reports[preflight.id]
        runs = [run for run in grid.runs.values() if preflight.formatted and run.formatted == preflight.formatted]
        if report is None:
            continue
        # Of a model with runs, their refusals say it.
        texts = [] if runs else [f"cannot be asked: {reason}" for reason in dict.fromkeys(report["unusable"].values())]
        for refused in report["refused"]:
            names = [
                run.label or run.name
                for run in runs
                if training_of(run) == refused["training"] and not Path(run.folder, "run.json").exists()
            ]
            if names:
                texts.append(f"cannot be trained: {', '.join(names)}: {refused['reason']}")
        for unasked in report["unasked"]:
            wanted = canonical(unasked["asked"])
            evaluations = dict.fromkeys(
                answers.evaluation for answers in asked_about[preflight.id] if wanted in _asked(answers)
            )
            texts += [f"cannot be asked: {evaluation}: {unasked['reason']}" for evaluation in evaluations]
        datasets = (runs[0].dataset,) if runs else tuple(sorted({each.dataset for each in asked_about[preflight.id]}))
        model = grid.models[preflight.model].label
        for text in [*texts, *report["warnings"]]:
            found[model, text].update(dict.fromkeys(datasets))
    return [Finding(model, tuple(datasets), text) for (model, text), datasets in found.items()]


def found_before(grid: Grid) -> list[str]:
    """The same in lines for people."""
    lines = (f"{finding.model} on {', '.join(finding.datasets)}: {finding.text}" for finding in findings(grid))
    return list(dict.fromkeys(lines))
