"""A study of two runs and an untrained model, whose work folders are written by hand."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study
from loragrid.study.planning import plan

STUDY = """
title: A small study
models: {base: {id: org/base, revision: abc, parameters: 7e9}}
datasets: {dialogues: {source: empathetic_dialogues}}
recipe: {method: lora}
grid: {rank: [4, 8]}
seeds: [1]
untrained: [base]
evaluations:
  test: {scores: [likelihood, rouge]}
"""

FAKE_SQUEUE = """#!{python}
import pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "asked").open("a") as asked:
    print(*sys.argv[1:], file=asked)
print((here / "queue").read_text(), end="")
"""


class Place:
    """The working directory: what jobs would have written, and what the commands say of it."""

    def __init__(self, folder: Path, study: str):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        Path("config/studies").mkdir(parents=True)
        Path("config/studies/small.yaml").write_text(study)
        self.began = time.time()
        self.grid = open_study("small", REGISTRY)
        self.first, self.second = self.grid.runs.values()
        self.untrained = next(iter(self.grid.untrained.values()), None)

    def answers(self, subject: Any) -> Any:
        return next(answers for answers in self.grid.answers.values() if answers.subject == subject.folder)

    def batch(self, stage: str, folder: str) -> str:
        """The id of the batch that works on a run or on answers, recorded as at the start of the workflow."""
        batches = plan(self.grid)
        made = getattr(batches, stage).values()
        (id_,) = (each.id for each in made for member in each.members if str(member.work.parent) == folder)
        batches.record({(stage, id_)}, {})
        return id_

    def write(self, file: Path | str, content: Any = "") -> Path:
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def attempt(self, part: Any, ended: str | None = None, number: int = 1, log: str = "", **record: Any) -> str:
        """Put an attempt on record; its log file."""
        work = f"{part.folder}/work"
        file = f"{work}/attempt-{number}.log"
        began = {"attempt": number, "started": self.began, "log": file, "host": platform.node(), "pid": -1}
        lines = [began | record]
        if ended:
            lines.append({"attempt": number, "ended": ended, "why": record.get("why", ""), "at": time.time()})
        Path(work).mkdir(parents=True, exist_ok=True)
        with Path(work, "attempts.jsonl").open("a") as attempts:
            attempts.writelines(json.dumps(line) + "\n" for line in lines)
        self.write(file, log)
        return file

    def steps(self, run: Any, number: int) -> None:
        """Steps that are on record."""
        lines = [json.dumps({"step": step, "loss": 3 - step / 100}) for step in range(1, number + 1)]
        self.write(f"{run.folder}/work/training.jsonl", "".join(line + "\n" for line in lines))

    def standing(self, part: Any, what: str, done: int, total: int, first: int = 0, loss: float | None = None) -> None:
        """How far an attempt is that began its work with the attempt, and did the last of it 100 seconds later."""
        numbers = {"first": first, "done": done, "total": total, "began": self.began, "at": self.began + 100}
        self.write(f"{part.folder}/work/standing.json", {"what": what, **numbers, "loss": loss})

    def fail(self, part: Any, stage: str, reason: str, log: str = "", blocked_by: str | None = None) -> Path:
        record = {"reason": reason, "stage": stage, "log": log, "blocked_by": blocked_by}
        return self.write(f"{part.folder}/work/failed.json", record)

    def finish(self, run: Any) -> None:
        self.write(f"{run.folder}/run.json", {"key": run.key})

    def answer(self, answers: Any) -> None:
        self.write(answers.generations)
        for file in answers.score_files("model").values():
            self.write(file)

    def score(self, answers: Any) -> None:
        for id_ in answers.scores:
            self.write(answers.score_file(id_))

    def data(self) -> None:
        """All that runs are made of."""
        for model in self.grid.models.values():
            self.write(f"{model.folder}/model.json")
        for formatted in self.grid.formatted.values():
            self.write(f"{formatted.folder}/format.json")
        for prompts in self.grid.prompts.values():
            self.write(prompts.file, "{}\n" * 40)
        for report in (*self.grid.contamination.values(), *self.grid.preflights.values()):
            self.write(report.file)

    def queue(self, *jobs: tuple[str, str, str, str, str]) -> None:
        """Put a fake squeue in place that tells of jobs: id, state, reason, time left, comment."""
        script = self.write(self.bin / "squeue", FAKE_SQUEUE.format(python=sys.executable))
        script.chmod(0o755)
        lines = [f"{id_}|{state}|{why}|{left}|{self.folder}|{comment}\n" for id_, state, why, left, comment in jobs]
        self.write(self.bin / "queue", "".join(lines))

    def loragrid(self, *arguments: str, fails: bool = False, **environment: str) -> str:
        """What a command says; only the fake Slurm, if any, is within its reach."""
        done = subprocess.run(self.command(*arguments), env=self.environment() | environment, capture_output=True,
                              text=True, check=False)  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr if fails else done.stdout

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "loragrid", *arguments]

    def environment(self) -> dict[str, str]:
        # Importing readline, as the workers of pytest-xdist do, sets the terminal's size in the environment.
        without_size = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
        return without_size | {"PATH": str(self.bin)}

    def cells(self) -> dict[str, dict[str, str]]:
        """The table of `loragrid status`: cells by column, by the name of the run."""
        lines = self.loragrid("status", "small").splitlines()
        heading = next(line for line in lines if line.startswith("model "))
        starts = [(found[0], found.start()) for found in re.finditer(r"\w+", heading)]
        ends = [start for _, start in starts[1:]] + [None]
        rows = {}
        for line in lines[lines.index(heading) + 1 :]:
            if not line:
                break
            row = {name: line[start:end].strip() for (name, start), end in zip(starts, ends, strict=True)}
            rows[row["run"]] = row
        return rows

    def cell(self, part: Any, stage: str = "train") -> str:
        name = part.name if part in (self.first, self.second) else "untrained, 16bit"
        return self.cells()[name][stage]


@pytest.fixture
def place_of(tmp_path, monkeypatch):
    """The working directory of a study."""
    monkeypatch.chdir(tmp_path)
    return lambda study: Place(tmp_path, study)


@pytest.fixture
def place(place_of):
    return place_of(STUDY)


@pytest.fixture
def process():
    """A process that lives until the test ends."""
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield sleeping
    sleeping.kill()
    sleeping.wait()
