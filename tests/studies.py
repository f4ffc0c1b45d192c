"""Hand-written studies over made-up sources, steps, formats and metrics, so that no real one moves a key."""

import hashlib
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from pydantic import BaseModel

from loragrid.study.grid import Grid
from loragrid.study.open import open_study
from loragrid.study.registry import Registry


class Options(BaseModel, extra="forbid"):
    """Options of made-up sources, steps and formats."""

    form: Literal["whole", "halves"] = "whole"
    minimum: int = 1


class Dialogue:
    """What most made-up sources have."""


class Pair:
    """What one of them has."""


class Remote(BaseModel):
    """Where a made-up source is downloaded from."""

    files: list[str] = []


def part(kind: type = Dialogue) -> SimpleNamespace:
    return SimpleNamespace(
        VERSION=1, Options=Options, KIND=kind, HAS_ANSWERS=True, OBJECTIVES=("sft",) if kind is Dialogue else ("dpo",)
    )


def source(name: str, kind: type = Dialogue, format_: str = "chat") -> SimpleNamespace:
    return SimpleNamespace(
        VERSION=1,
        Options=Options,
        KIND=kind,
        STEPS=["trim", {"merge": {"minimum": 2}}],
        FORMAT=format_,
        REMOTE=Remote(files=[f"https://example.org/{name}.csv"]),
        SIZE=SimpleNamespace(rows={"train": 1000, "test": 100}, tokens=50),
    )


def metric(place: str, *columns: str, version: int = 1) -> SimpleNamespace:
    names = [SimpleNamespace(name=name) for name in columns]
    return SimpleNamespace(VERSION=version, Options=Options, PLACE=place, NEEDS=[], COLUMNS=names)


REGISTRY = Registry(
    sources={
        "letters": source("letters"),
        "tickets": source("tickets"),
        "votes": source("votes", Pair, "pairs"),
    },
    steps={"trim": part(), "merge": part()},
    formats={"chat": part(), "turns": part(), "pairs": part(Pair)},
    metrics={
        "rouge": metric("cpu", "rougeL"),
        "sacrebleu": metric("cpu", "sacrebleu", version=2),
        "likelihood": metric("model", "perplexity"),
    },
    groups={"text": ("rouge", "sacrebleu")},
    templates={"chatml": Path(__file__)},
    digest=lambda path: hashlib.sha256(path.read_bytes()).hexdigest(),
)

SMALL = """
    title: A small study
    models:
      base: {id: org/Base-7B, revision: abc123, parameters: 7e9}
    datasets:
      letters: {source: letters}
    """


VOTES = """
    title: Dialogues, and pairs of answers
    models:
      base: {id: org/Base-7B, revision: abc123, parameters: 7e9}
    datasets:
      letters: {source: letters}
      votes: {source: votes}
    """

DPO = "dataset: votes, objective: dpo"
"""What points by DPO have in common, in a mapping."""


class Place:
    """A working directory in which studies are written and opened."""

    def __init__(self) -> None:
        self.registry = REGISTRY

    def write(self, text: str, name: str = "small") -> Path:
        file = Path(f"config/studies/{name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def open(self, *parts: str, name: str = "small") -> Grid:
        """The grid of a study made of several pieces of YAML."""
        self.write("\n".join(map(textwrap.dedent, parts)), name)
        return open_study(name, self.registry)

    def small(self, more: str = "", name: str = "small") -> Grid:
        """The grid of the small study with something added."""
        return self.open(SMALL, more, name=name)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place()
