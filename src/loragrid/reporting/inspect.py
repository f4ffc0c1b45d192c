"""What becomes of single records: as they were read, after each cleaning step, and as a model sees them.

Works before anything is trained, and before anything is cleaned: it reads the raw files itself, the beginning of them
only, so that it takes seconds whatever their size.
"""

import contextlib
import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loragrid.data.drops import Drops
from loragrid.data.formats import FORMATS
from loragrid.data.formats.base import Example
from loragrid.data.records import Record, content, fault, texts
from loragrid.data.sources import SOURCES
from loragrid.data.steps import STEPS
from loragrid.errors import UserError
from loragrid.modeling.messages import with_system
from loragrid.study.choices import found
from loragrid.study.grid import Clean, Grid, Mixture, ModelEntry
from loragrid.study.references import expand

READ = 1000
"""Records that are looked at."""


@dataclass(frozen=True)
class Token:
    """A token of a rendered example.

    Args:
        text: what it stands for.
        is_learnt: whether it carries loss in training; of what is only asked about, whether it is the answer.
    """

    text: str
    is_learnt: bool


@dataclass(frozen=True)
class Row:
    """An example as a model sees it.

    Args:
        example: it.
        tokens: its tokens; empty without a tokenizer.
        rejected: those of the answer that is worse than its last message, if it has one.
        note: what was left out of it, or that there is no row.
    """

    example: Example
    tokens: list[Token] = field(default_factory=list)
    rejected: list[Token] = field(default_factory=list)
    note: str = ""


@dataclass(frozen=True)
class Inspected:
    """What became of one record.

    Args:
        why: it is shown, e.g. "the longest".
        split: of the raw files.
        raw: as read.
        clean: after all steps, or why it was dropped.
        changed: names of the steps that changed it.
        rows: what a model is trained on or asked; or why there is nothing.
    """

    why: str
    split: str
    raw: Record
    clean: Record | str
    changed: list[str]
    rows: list[Row] | str


@dataclass(frozen=True)
class Inspection:
    """A dataset of a study, looked at.

    Args:
        dataset: its name in the study.
        model: name of the model; None where there is no tokenizer yet, `note` says why.
        is_trained: whether runs are trained on it; else it is only asked about.
        note: what one should know; empty if nothing.
        looked: how many records were read.
        records: those that are shown.
    """

    dataset: str
    model: str | None
    is_trained: bool
    note: str
    looked: int
    records: list[Inspected]


def inspect(grid: Grid, dataset: str, model: str | None, number: int) -> Inspection:
    """Look at records of a dataset.

    Args:
        grid: the study.
        dataset: its name in the study.
        model: name of a model; None for the first.
        number: how many of the first records to show, beside those that stand out.

    Raises:
        UserError: there is no such dataset or model in the study, or no raw files yet.
    """
    use = _use(grid, dataset)
    entry = _model(grid, model)
    tokenizer, note = _chat(entry, use.chat)
    of_each: list[list[tuple[str, Record, Record | str, list[str]]]] = []
    for clean in use.cleans:
        of_each.append([])
        steps = [(choice["name"], _begin(choice)) for choice in clean.steps]
        with _raw_folder(grid, clean) as folder:
            source = SOURCES[clean.source]
            records = source.read(folder, source.Options.model_validate(clean.read), Drops())
            for split, raw in itertools.islice(records, READ // len(use.cleans)):
                of_each[-1].append((split, raw, *_cleaned(raw, split, steps)))
    # Of a mixture the first of each dataset come first.
    read = [found_ for row in itertools.zip_longest(*of_each) for found_ in row if found_ is not None]
    if not read:
        raise UserError(f"{dataset}: no record can be read")
    module, options = found("format", use.format, FORMATS)
    shown = []
    for why, (split, raw, record, changed) in _chosen(read, number):
        rows: list[Row] | str = "dropped"
        if not isinstance(record, str):
            made = module.examples(record, options)
            rows = made if isinstance(made, str) else [row for each in made for row in _rows(each, tokenizer, use)]
        shown.append(Inspected(why, split, raw, record, changed, rows))
    return Inspection(dataset, entry.label if tokenizer else None, use.is_trained, note, len(read), shown)


@dataclass(frozen=True)
class _Use:
    """How a dataset is cleaned, formatted and shown to a model."""

    cleans: Sequence[Clean]
    format: Mapping[str, Any]
    chat: Mapping[str, Any]
    max_length: int | None = None
    mask: str = "answers"
    system: str | None = None
    is_trained: bool = True


def _use(grid: Grid, dataset: str) -> _Use:
    """As it is for the first run on it, else for the first who is asked about it."""
    for run in grid.runs.values():
        if run.dataset == dataset:
            formatted = grid.formatted[run.formatted]
            read = grid.read_for(run.clean)
            return _Use(read, formatted.format, run.chat, formatted.max_length, formatted.mask)
        data = grid.clean[run.clean]
        for part in data.parts if isinstance(data, Mixture) else ():
            if part["name"] == dataset:
                formatted = grid.formatted[run.formatted]
                read = grid.read_for(part["clean"])
                return _Use(read, formatted.format, run.chat, formatted.max_length, formatted.mask)
    for answers in grid.answers.values():
        if answers.dataset == dataset:
            prompts = grid.prompts[answers.prompts]
            read = grid.read_for(prompts.clean)
            return _Use(read, prompts.format, answers.chat, system=prompts.system, is_trained=False)
    names = {run.dataset for run in grid.runs.values()} | {answers.dataset for answers in grid.answers.values()}
    raise UserError(f"study {grid.study} uses no dataset {dataset!r}; it uses: {', '.join(sorted(names))}")


def _model(grid: Grid, name: str | None) -> ModelEntry:
    for model in grid.models.values():
        if name in (None, model.label):
            return model
    known = ", ".join(model.label for model in grid.models.values())
    raise UserError(f"study {grid.study} has no model {name!r}; it has: {known}")


def _chat(model: ModelEntry, chat: Mapping[str, Any]) -> tuple[Any, str]:
    """The tokenizer with its template, and a note: why there is none, or what is odd about it."""
    folder = Path(model.folder)
    local = expand(model.path) if model.path else None
    place = next((each for each in (folder, local) if each is not None and any(each.glob("tokenizer*"))), None)
    if place is None:
        return (
            None,
            f"the tokenizer of {model.label} is not there yet, so that tokens are not shown: run the workflow first",
        )
    from loragrid.jobs.environment import set_up

    set_up()
    from loragrid.modeling.tokenizer import load_chat

    loaded = load_chat(str(place), chat)
    return loaded, "; ".join(loaded.warnings())


@contextlib.contextmanager
def _raw_folder(grid: Grid, clean: Clean) -> Iterator[Path]:
    raw = grid.raw[clean.raw]
    if Path(raw.folder, "provenance.json").exists():
        yield Path(raw.folder)
    elif raw.path is None:
        raise UserError(f"{raw.folder}: not downloaded yet; `snakemake downloads` does that, where there is internet")
    elif (path := expand(raw.path)).is_dir():
        yield path
    else:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, path.name).symlink_to(path.resolve())
            yield Path(folder)


def _begin(choice: Mapping[str, Any]) -> Any:
    step, options = found("step", choice, STEPS)
    return step.begin(options)


def _cleaned(raw: Record, split: str, steps: Sequence[tuple[str, Any]]) -> tuple[Record | str, list[str]]:
    record = raw
    changed: list[str] = []
    for name, apply in steps:
        new = apply(record, split)
        if isinstance(new, str):
            return f"{name}: {new}", changed
        if content(new) != content(record):
            changed.append(name)
        record = new
    return fault(record) or record, changed


def _chosen(read: Sequence[tuple[str, Record, Record | str, list[str]]], number: int) -> Iterator[tuple[str, Any]]:
    """Those that stand out, each with the reason, and the first ones."""
    kept = [each for each in read if not isinstance(each[2], str)]
    named: list[tuple[str, Any]] = [(f"number {place}", each) for place, each in enumerate(read[:number], start=1)]
    if kept:
        by_length = sorted(kept, key=lambda each: sum(map(len, texts(each[2]))))  # type: ignore[arg-type]
        named += [("the shortest", by_length[0]), ("the longest", by_length[-1])]
        named += (
            [("changed the most", max(kept, key=lambda each: len(each[3])))] if any(each[3] for each in kept) else []
        )
    named += [("dropped", each) for each in read if isinstance(each[2], str)][:1]
    whys: dict[int, list[str]] = {}
    for why, each in named:
        whys.setdefault(id(each), []).append(why)
    seen: set[int] = set()
    for _, each in named:
        if id(each) not in seen:
            seen.add(id(each))
            yield ", ".join(whys[id(each)]), each


def _rows(example: Example, chat: Any, use: _Use) -> Iterator[Row]:
    if chat is None or example.messages[-1]["role"] != "assistant":  # what the model says itself is not there
        yield Row(example)
        return
    from loragrid.data.fit import fitted_pair, fitted_rows

    messages = with_system(example.messages, use.system, use.chat["system"])
    max_length = use.max_length or sys.maxsize
    if example.rejected is not None:
        fitted = fitted_pair(chat, messages, example.rejected, max_length)
        lengths = f"{fitted.chosen_length} tokens, rejected {fitted.rejected_length}"
        if fitted.encoded is None:
            yield Row(example, note=_too_long(lengths, use))
            return
        pair = fitted.encoded
        chosen = _tokens(chat, [*pair.prompt, *pair.chosen], [False] * len(pair.prompt) + [True] * len(pair.chosen))
        rejected = _tokens(chat, pair.rejected, [use.is_trained] * len(pair.rejected))
        yield Row(example, chosen, rejected, lengths + _left_out(fitted.left_out))
        return
    for row in fitted_rows(chat, messages, max_length, whole_only=use.mask == "all"):
        if row.encoded is None:
            yield Row(example, note=_too_long(f"{row.length} tokens", use))
            continue
        ids = row.encoded.ids
        learnt = row.encoded.is_answer if use.mask == "answers" else [True] * len(ids)
        yield Row(example, _tokens(chat, ids, learnt), note=f"{row.length} tokens{_left_out(row.left_out)}")


def _too_long(lengths: str, use: _Use) -> str:
    return f"{lengths}: even its last answer does not fit max_length={use.max_length}"


def _left_out(messages: int) -> str:
    return f"; the first {messages} messages left out" if messages else ""


def _tokens(chat: Any, ids: Sequence[int], learnt: Sequence[bool]) -> list[Token]:
    return [Token(*piece) for piece in zip(_pieces(chat, ids), learnt, strict=True)]


def _pieces(chat: Any, ids: Sequence[int]) -> list[str]:
    """The text of each token; one that holds part of a character is shown with the next that completes it."""
    pieces, pending = [], []
    for id_ in ids:
        pending.append(id_)
        text = str(chat.tokenizer.decode(pending))
        if "\ufffd" in text and len(pending) < 4:
            pieces.append("")
            continue
        pieces.append(text)
        pending = []
    return pieces
