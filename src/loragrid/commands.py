"""What each command of `loragrid` does: every rule of the workflow is a call of one of them.

Each imports its stage when it runs: torch alone takes seconds, and most commands do without. What a study may be made
of takes half a second, which those do without that are started for each file of a grid.
"""

import argparse
import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from loragrid.errors import UserError
from loragrid.files import make_once, write_text
from loragrid.jobs.stage import restarting
from loragrid.study.grid import Grid


def open_study(name: str) -> Grid:
    """The grid of a study: a name, a YAML file, or a recorded study.json."""
    from loragrid.plugins import REGISTRY
    from loragrid.study.open import open_study as opened

    return opened(name, REGISTRY)


def check(arguments: argparse.Namespace) -> None:
    """Check a study as a whole and say what it would run."""
    from loragrid.estimates.devices import DEFAULT, find_device
    from loragrid.estimates.plan import missing_here, summary
    from loragrid.estimates.requests import Estimator
    from loragrid.plugins import REGISTRY
    from loragrid.study.planning import plan as batches_of

    grid = open_study(arguments.study)
    batches = batches_of(grid)
    print(summary(grid, batches, Estimator(grid, REGISTRY, find_device(DEFAULT))))
    for missing in missing_here(batches):
        print(f"Warning: {missing}", file=sys.stderr)


def plan(arguments: argparse.Namespace) -> None:
    """Show what each run of a study would take: GPUs, memory and time."""
    from loragrid.estimates.devices import find_device, for_this_machine
    from loragrid.estimates.plan import detailed
    from loragrid.estimates.requests import Estimator
    from loragrid.plugins import REGISTRY
    from loragrid.study.planning import plan as batches_of

    grid = open_study(arguments.study)
    device = find_device(arguments.device)
    estimator = Estimator(grid, REGISTRY, device if device.is_gpu else for_this_machine(device))
    print(detailed(grid, batches_of(grid), estimator))


def status(arguments: argparse.Namespace) -> None:
    """Show where a study stands: each run, its stages, what is queued or running, and what failed."""
    from loragrid.status.overview import overview
    from loragrid.status.show import console, show
    from loragrid.status.watch import watch

    grid = open_study(arguments.study)
    if arguments.watch is None:
        show(overview(grid), console())
        return
    with contextlib.suppress(KeyboardInterrupt):  # how one ends it
        watch(grid, arguments.watch or None)


def failures(arguments: argparse.Namespace) -> None:
    """Show what has failed in a study, with the end of each log; the exit status is 0 either way."""
    from loragrid.status.failures import describe_failures
    from loragrid.status.overview import overview

    print(describe_failures(overview(open_study(arguments.study)), arguments.lines))


def inspect(arguments: argparse.Namespace) -> None:
    """Show records of a study as they are read, cleaned, and seen by a model; before and without any training."""
    from loragrid.plugins import REGISTRY
    from loragrid.reporting.inspect import inspect as look
    from loragrid.reporting.inspect_show import as_page, show
    from loragrid.study.open import open_alone

    grid = open_study(arguments.study)
    used = [run.dataset for run in grid.runs.values()] + [answers.dataset for answers in grid.answers.values()]
    used += [part["name"] for data in grid.clean.values() for part in getattr(data, "parts", ())]
    for dataset in [arguments.dataset] if arguments.dataset else dict.fromkeys(used):
        # What the study does not use can be looked at, too.
        shown = grid if dataset in used else open_alone(arguments.study, dataset, REGISTRY)
        seen = look(shown, dataset, arguments.model, arguments.records)
        show(seen)
        page = Path(grid.folder, "inspect", f"{dataset}.html")
        write_text(page, as_page(seen))
        print(f"the same as a page: {page}")


def ask(arguments: argparse.Namespace) -> None:
    """Ask runs of a study, or what they were before training, a prompt; show the answers side by side."""
    from loragrid.generation.questions import questions
    from loragrid.study.batches import is_trained
    from loragrid.study.subjects import names_of, runs_called

    words, text = list(arguments.words), None
    if not arguments.file:
        text = words.pop() if words else None
        if text is None:
            raise UserError('ask: say what to ask, or name a --file of prompts, e.g. loragrid ask --all "How are you?"')
    bases_alone = arguments.base and not words and not arguments.all
    if not words and not arguments.all and not arguments.base:
        raise UserError(
            'ask: name a run and what to ask it, e.g. loragrid ask r8-a16 "How are you?"; or --all of them, or --base'
        )
    if words and arguments.all:
        raise UserError("ask: name runs, or --all of them")
    prompts = questions(text, arguments.file)
    grid = open_study(arguments.study or _usual_study())
    runs = runs_called(grid, words) if words else list(grid.runs.values())
    named = zip(names_of(grid, runs), runs, strict=True)
    missing = [] if bases_alone else [name for name, run in named if not is_trained(run)]
    if missing and (words or len(missing) == len(runs)):
        raise UserError(f"not trained yet: {', '.join(missing)}; see `loragrid status {grid.study}`")
    with _importing():
        from loragrid.generation.ask import ask as asked
    from loragrid.generation.subjects import subjects_of
    from loragrid.reporting.ask_show import side_by_side
    from loragrid.study.schema.evaluations import Decoding

    wanted = {name: getattr(arguments, name) for name in ("max_new_tokens", "temperature")}
    asked_runs = runs if bases_alone else [run for run in runs if is_trained(run)]
    subjects = subjects_of(grid, asked_runs, base=arguments.base)
    if bases_alone:
        subjects = [subject for subject in subjects if subject.run is None]
    answers: dict[str, list[dict[str, Any]]] = {}
    reasons: list[str] = []
    try:
        for subject, found in zip(subjects, asked(subjects, prompts, Decoding(**wanted).model_dump()), strict=True):
            if isinstance(found, UserError):  # the others are asked all the same
                reasons.append(str(found))
                continue
            answers[subject.name] = found
            print(f"{subject.name} has answered", file=sys.stderr)
    finally:  # as far as they have come
        for number, prompt in enumerate(prompts if answers else []):
            print(side_by_side(prompt[-1]["content"], list(answers), [each[number] for each in answers.values()]))
    if missing:
        print(f"not trained yet: {', '.join(missing)}")
    if reasons:
        raise UserError("\n".join(dict.fromkeys(reasons)))


def _usual_study() -> str:
    """The study that config/config.yaml names, as for Snakemake."""
    import yaml

    try:
        usual = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))["study"]
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        usual = None
    if not isinstance(usual, str):
        raise UserError("name a --study: config/config.yaml names none")
    return usual


def schema(arguments: argparse.Namespace) -> None:
    """Print the JSON Schema of study files, as YAML."""
    from loragrid.plugins import REGISTRY
    from loragrid.study.jsonschema import schema_text

    print(schema_text(REGISTRY), end="")


def download(arguments: argparse.Namespace) -> None:
    """Download a dataset, a model, an encoder or WordNet, or copy the local one given in its place."""
    from loragrid.data.download import download_dataset, download_model
    from loragrid.study.references import expand

    if arguments.wordnet:
        from loragrid.data.wordnet import download_wordnet

        download_wordnet()
        return
    if not arguments.study:
        raise UserError("download: --dataset, --model and --encoder need the --study that they belong to")
    grid = open_study(arguments.study)
    if arguments.dataset:
        raw = _entry(grid, "raw", arguments.dataset)
        path = str(expand(raw.path)) if raw.path else None
        make_once(
            Path(raw.folder),
            ["provenance.json"],
            lambda: download_dataset(Path(raw.folder), raw.source, path=path, revision=raw.revision, remote=raw.remote),
        )
    else:
        kind, id_ = ("models", arguments.model) if arguments.model else ("encoders", arguments.encoder)
        model = _entry(grid, kind, id_)
        path = str(expand(model.path)) if model.path else None
        make_once(
            Path(model.folder),
            ["model.json"],
            lambda: download_model(Path(model.folder), model.hub, model.revision, path),
        )


def build(arguments: argparse.Namespace) -> None:
    """Make a small base model from a corpus."""
    with restarting("build_model", arguments.model):
        with _importing():
            import torch

            from loragrid.modeling.build import build_model
            from loragrid.study.references import expand

        torch.set_num_threads(arguments.threads)
        model = _entry(open_study(arguments.study), "models", arguments.model)
        make_once(
            Path(model.folder),
            ["model.json"],
            lambda: build_model(Path(model.folder), model.key, expand(model.build["corpus"]), model.build),
        )


def clean(arguments: argparse.Namespace) -> None:
    """Clean a dataset (one form, splits, everything dropped counted), or put cleaned ones together."""
    with restarting("clean", arguments.dataset):
        from loragrid.data.make import make_clean

        grid = open_study(arguments.study)
        data = _entry(grid, "clean", arguments.dataset)
        make_once(
            Path(data.folder),
            ["train.jsonl", "validation.jsonl", "test.jsonl", "statistics.json", "cleaning.json"],
            lambda: make_clean(grid, data),
        )


def contamination(arguments: argparse.Namespace) -> None:
    """Look for what evaluations ask in the data that their runs are trained on."""
    with restarting("contamination", arguments.dataset):
        from loragrid.data.make import make_contamination

        grid = open_study(arguments.study)
        make_contamination(grid, _entry(grid, "contamination", arguments.dataset))


def format_(arguments: argparse.Namespace) -> None:
    """Tokenise and mask a cleaned dataset for one model."""
    with restarting("format", arguments.formatted):
        with _importing():
            from loragrid.data.format import format_dataset

        grid = open_study(arguments.study)
        formatted = _entry(grid, "formatted", arguments.formatted)
        model = grid.models[formatted.model]
        make_once(
            Path(formatted.folder),
            ["format.json"],
            lambda: format_dataset(
                Path(grid.clean[formatted.clean].folder),
                Path(model.folder),
                Path(formatted.folder),
                key=formatted.key,
                format_=formatted.format,
                chat=formatted.chat,
                mask=formatted.mask,
                max_length=formatted.max_length,
                workers=arguments.workers,
            ),
        )


def preflight(arguments: argparse.Namespace) -> None:
    """Look at a model, at data formatted for it and at what it is asked, before any GPU is used."""
    with _importing():
        from loragrid.preflight.look import look

    grid = open_study(arguments.study)
    entry = _entry(grid, "preflights", arguments.preflight)
    look(
        Path(entry.file),
        key=entry.key,
        model=Path(grid.models[entry.model].folder),
        formatted=Path(grid.formatted[entry.formatted].folder) if entry.formatted else None,
        chat=entry.chat,
        trainings=entry.trainings,
        asked=entry.asked,
        prompts={each["prompts"]: Path(grid.prompts[each["prompts"]].file) for each in entry.asked},
        records={each["prompts"]: _records_of(grid, each["prompts"]) for each in entry.asked},
    )


def _records_of(grid: Grid, id_: str) -> int | None:
    """How many records prompts are made of; None if that cannot be told any more, or they are chosen by subject."""
    entry = grid.prompts[id_]
    file = Path(grid.clean[entry.clean].folder, f"{entry.split}.jsonl")
    if entry.choice is not None or not file.exists():
        return None
    number = file.read_bytes().count(b"\n")
    return min(number, entry.rows or number)


def prompts(arguments: argparse.Namespace) -> None:
    """Write the prompts and references of an evaluation."""
    with restarting("prompts", arguments.prompts):
        from loragrid.data.choices import write_choices
        from loragrid.data.conversations import write_conversations
        from loragrid.data.prompts import NothingToAsk, write_prompts

        grid = open_study(arguments.study)
        entry = _entry(grid, "prompts", arguments.prompts)
        clean, out = Path(grid.clean[entry.clean].folder), Path(entry.file)
        try:
            if entry.choice is not None:
                write_choices(clean, out, split=entry.split, **entry.choice)
                return
            write = write_conversations if entry.replay else write_prompts
            write(
                clean,
                out,
                format_=entry.format,
                split=entry.split,
                turns=entry.turns,
                rows=entry.rows,
                system=entry.system,
                default_system=entry.default_system,
                context=entry.context,
            )
        except NothingToAsk as error:
            # The preflight of whoever would be asked refuses it: all else goes on.
            print(error)
            write_text(out, "")


def encode(arguments: argparse.Namespace) -> None:
    """Encode the references of an evaluation, for all scores that compare answers with them."""
    with restarting("encode", arguments.references):
        with _importing():
            from loragrid.modeling.encoder import load_encoder
            from loragrid.scoring.references import encoded_references

        grid = open_study(arguments.study)
        references = _entry(grid, "references", arguments.references)
        encoder = load_encoder(grid.encoders[references.encoder].folder, references.layer)
        prompts = Path(grid.prompts[references.prompts].file)
        encoded_references(Path(references.file), references.key, prompts, encoder)


def train(arguments: argparse.Namespace) -> int:
    """Train the runs of a batch."""
    from loragrid.jobs.launch import run_batch
    from loragrid.status.line import line_of
    from loragrid.study.batches import open_batch

    options, batch = ["--checkpoint-minutes", str(arguments.checkpoint_minutes)], open_batch(arguments.batch)
    for name in arguments.report_to:
        options += ["--report-to", name]
    return 0 if run_batch("train", batch, arguments.batch, options, arguments.gpus, line_of(batch)) else 1


def log_probabilities(arguments: argparse.Namespace) -> int:
    """Compute what runs by DPO are compared with."""
    from loragrid.jobs.launch import run_batch
    from loragrid.status.line import line_of
    from loragrid.study.batches import open_batch

    batch = open_batch(arguments.batch)
    return 0 if run_batch("log_probabilities", batch, arguments.batch, [], gpus=1, on_poll=line_of(batch)) else 1


def generate(arguments: argparse.Namespace) -> int:
    """Ask the subjects of a batch."""
    from loragrid.jobs.launch import run_batch
    from loragrid.status.line import line_of
    from loragrid.study.batches import open_batch

    batch = open_batch(arguments.batch)
    return 0 if run_batch("generate", batch, arguments.batch, [], gpus=1, on_poll=line_of(batch)) else 1


def worker(arguments: argparse.Namespace) -> int:
    """Do the work of `train`, `log_probabilities` or `generate`, as a process that these start."""
    from loragrid.jobs.parent import die_with_parent
    from loragrid.study.batches import open_batch

    die_with_parent()
    batch = open_batch(arguments.batch)
    if arguments.members:
        by_folder = {member.folder: member for member in batch.members}
        if gone := [folder for folder in arguments.members if folder not in by_folder]:
            raise UserError(f"{arguments.batch}: holds other members by now, without {', '.join(gone)}")
        batch = replace(batch, members=[by_folder[folder] for folder in arguments.members])
    if arguments.stage == "train":
        with _importing():
            from loragrid.training.train import train_batch

        return 0 if train_batch(batch, arguments.checkpoint_minutes, arguments.report_to) else 1
    if arguments.stage == "log_probabilities":
        with _importing():
            from loragrid.training.references import reference_batch

        return 0 if reference_batch(batch) else 1
    with _importing():
        from loragrid.generation.generate import generate_batch
        from loragrid.scoring.of_model import write_of_model

    return 0 if generate_batch(batch, write_of_model) else 1


def publish(arguments: argparse.Namespace) -> None:
    """Publish what a member of a batch has finished."""
    from loragrid.jobs.publish import publish as publish_files

    publish_files(arguments.folder, arguments.outputs)


def score(arguments: argparse.Namespace) -> None:
    """Score the answers of a batch by their texts or an encoder; or, with --metrics, any file of predictions."""
    if arguments.metrics:
        _score_rows(arguments)
        return
    stage, _, id_ = arguments.file.stem.rpartition("-")
    with restarting(stage, id_):
        # Only an encoder needs torch.
        with _importing() if stage == "score_by_encoder" else contextlib.nullcontext():
            from loragrid.scoring.score import score_batch
        from loragrid.study.batches import open_batch

        score_batch(open_batch(arguments.file), f"results/logs/{stage}/{id_}.log")


def _score_rows(arguments: argparse.Namespace) -> None:
    import json

    from loragrid.comparing.standalone import with_intervals
    from loragrid.files import write_json
    from loragrid.scoring.standalone import score_rows

    settings = {"language": arguments.language} if arguments.language else {}
    texts, scored, made = score_rows(arguments.file, arguments.metrics, settings)
    found = with_intervals(texts, scored, made)
    if number := found["empty_references"]:
        print(
            f"warning: {number} of {found['items']} references have no text: what is compared with nothing counts as "
            "wrong, in most metrics",
            file=sys.stderr,
        )
    if arguments.output:
        write_json(arguments.output, found)
        print(f"{found['items']} items scored: {arguments.output}")
    else:
        print(json.dumps(found, indent=1, ensure_ascii=False))


def judge(arguments: argparse.Namespace) -> None:
    """Have the answers of a batch judged by the server that the environment names."""
    from loragrid.judging.judge import judge_batch
    from loragrid.study.batches import open_batch

    id_ = arguments.batch.stem.removeprefix("judge-")
    judge_batch(open_batch(arguments.batch), f"results/logs/judge/{id_}.log")


def tabulate(arguments: argparse.Namespace) -> None:
    """Make the tables from whatever scores exist."""
    from loragrid.reporting.tabulate import tabulate as write_tables

    grid = open_study(arguments.study)
    write_tables(grid)
    others = "values.csv, gains.csv, over_best.csv, effects.csv, cost.csv"
    print(f"tables of {grid.study}: {grid.folder}/comparison.html, .md, .csv, .tex; {others}")


def table(arguments: argparse.Namespace) -> None:
    """Print the comparison table."""
    from loragrid.reporting.tabulate import terminal_table

    print(terminal_table(open_study(arguments.study)))


def _importing() -> contextlib.AbstractContextManager[None]:
    from loragrid.jobs.environment import importing

    return importing()


def _entry(grid: Grid, kind: str, id_: str):
    entries = getattr(grid, kind)
    if id_ not in entries:
        raise UserError(f"study {grid.study} has no {kind} {id_!r}; there are: {', '.join(entries) or 'none'}")
    return entries[id_]
