"""What is settled before any GPU is used: which settings a model and its data are looked at for, and what was found."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import canonical, read_json
from loragrid.study.grid import Answers, Grid, Preflight, Run
from loragrid.study.keys import PREFLIGHT_VERSION, key_of, plain, short

TRAINING = ("target_modules", "rank", "batch_size", "epochs", "max_steps", "warmup")
"""Fields of a recipe that may be too much for a model or its data."""


def training_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """What is looked at of a run, by the fields of `Run`."""
    return {"precision": run["precision"], **{name: plain(run["recipe"][name]) for name in TRAINING}}


def preflights_of(grid: Grid) -> dict[str, Preflight]:
    """For each model × formatted data, what it is to be looked at for: by id."""
    trainings: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    asked: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for run in grid.runs.values():
        settings = training_of(vars(run))
        trainings[run.formatted][canonical(settings)] = settings
    for answers in grid.answers.values():
        if answers.subject in grid.runs and answers.in_chat and answers.decoding:
            settings = _asked(answers)
            asked[grid.runs[answers.subject].formatted][canonical(settings)] = settings
    found = {}
    for formatted, of_runs in trainings.items():
        settings = {
            "trainings": [of_runs[each] for each in sorted(of_runs)],
            "asked": [asked[formatted][each] for each in sorted(asked[formatted])],
        }
        parts = {"formatted": grid.formatted[formatted].key, "version": PREFLIGHT_VERSION}
        # The model is not in the key of what is formatted for it.
        key = key_of("preflight", {**settings, **parts, "model": grid.models[grid.formatted[formatted].model].key})
        made = Preflight(f"{formatted}-{short(key)}", key, formatted, **settings)
        found[made.id] = made
    return found


def _asked(answers: Answers) -> dict[str, Any]:
    likelihood = any(score["name"] == "likelihood" for score in answers.scores.values())
    return {
        "prompts": answers.prompts,
        "max_new_tokens": answers.decoding["max_new_tokens"] if answers.generations else 0,
        "likelihood": likelihood,
    }


@dataclass(frozen=True)
class Refusal:
    """Why a run is not trained.

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
    return found if isinstance(found, dict) and found.keys() >= {"refused", "warnings"} else None


def refusal_of(run: Mapping[str, Any], file: str) -> Refusal | None:
    """Why a run cannot be trained, by the fields of `Run`; None if that is not known.

    Args:
        run: by the fields of `Run`.
        file: the report about its data.
    """
    wanted = training_of(run)
    report = read_report(file) or {"refused": []}
    return next((Refusal(each["reason"], file) for each in report["refused"] if each["training"] == wanted), None)


def refusals(grid: Grid) -> dict[str, Refusal]:
    """Why runs of a study cannot be trained, their children included, by the run's folder."""
    file_of = {preflight.formatted: preflight.file for preflight in grid.preflights.values()}
    reports = {file: read_report(file) for file in file_of.values()}
    found: dict[str, Refusal] = {}
    if not any(report and report["refused"] for report in reports.values()):
        return found
    for run in _parents_first(grid):
        if run.parent in found:
            above = found[run.parent]
            found[run.folder] = Refusal(f"its parent run {Path(run.parent).name} failed: {above.reason}", above.file)
        elif refusal := refusal_of(vars(run), file_of[run.formatted]):
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
        dataset: likewise.
        text: what is refused or doubtful.
    """

    model: str
    dataset: str
    text: str


def findings(grid: Grid) -> list[Finding]:
    """All that preflights have found of a study: what is refused, then what is doubtful."""
    found = []
    for preflight in grid.preflights.values():
        report = read_report(preflight.file)
        runs = [run for run in grid.runs.values() if run.formatted == preflight.formatted]
        if report is None:
            continue
        texts = []
        for refused in report["refused"]:
            names = [run.label or run.name for run in runs if training_of(vars(run)) == refused["training"]]
            texts.append(f"cannot be trained: {', '.join(names)}: {refused['reason']}")
        model, dataset = grid.models[runs[0].model].label, runs[0].dataset
        found += [Finding(model, dataset, text) for text in [*texts, *report["warnings"]]]
    return found


def found_before(grid: Grid) -> list[str]:
    """The same in lines for people."""
    return [f"{finding.model} on {finding.dataset}: {finding.text}" for finding in findings(grid)]
