"""Commands end with what they have to say, whoever reads it and in whatever encoding."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loragrid.cli import main

STUDY = """
title: Dialogues → answers
models: {base: {id: org/base, parameters: 7e9}}
datasets: {dialogues: {source: empathetic_dialogues}}
untrained: [base]
evaluations: {test: {}}
"""

# Of Python's own encodings, so that no locale need be installed.
ENCODINGS = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "iso-8859-1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]

SHOWING = [
    ["check", "arrow"], ["plan", "arrow"], ["status", "arrow"], ["failures", "arrow"], ["schema"],
    ["table", "--study", "arrow"], ["--help"], ["plan", "--help"],
]  # fmt: skip


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("config/studies/arrow.yaml")
    file.parent.mkdir(parents=True)
    file.write_text(STUDY, encoding="utf-8")
    return file


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "loragrid", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, check=False)


@pytest.mark.parametrize("arguments", SHOWING, ids=" ".join)
def test_a_reader_that_has_enough_ends_it_quietly(study, arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "loragrid", *arguments]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert done.stderr == b""


@pytest.mark.parametrize("environment", ENCODINGS, ids=str)
def test_a_sign_that_the_terminal_lacks_is_escaped(study, environment):
    for command in (["check", "arrow"], ["plan", "arrow"]):
        done = run(*command, **environment)
        assert done.returncode == 0, done.stderr
        assert b"study arrow: Dialogues \\u2192 answers" in done.stdout
    study.write_text(STUDY.replace("source:", "sourc→:"), encoding="utf-8")
    done = run("check", "arrow", **environment)
    assert b"datasets.dialogues.sourc\\u2192: unknown key" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_stage_writes_in_any_encoding_too(study):
    assert b"tables of arrow: " in run("tabulate", "--study", "arrow", PYTHONIOENCODING="ascii").stdout
    page = Path("results/studies/arrow/comparison.html").read_text(encoding="utf-8")
    assert "Dialogues → answers" in page


def folder(path: Path) -> None:
    path.mkdir()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize("command", ["check", "plan", "status"])
@pytest.mark.parametrize(
    ("make", "said"),
    [(folder, "cannot be read (Is a directory)"), (dangling, "cannot be read (No such file"), (binary, "can't decode")],
)
def test_a_study_that_cannot_be_read_is_a_problem(study, make, said, command):
    study.unlink()
    make(study)
    done = run(command, "arrow")
    assert done.returncode == 1
    told = done.stderr.decode()
    assert told.startswith("loragrid: config/studies/arrow.yaml: 1 problem\n  - ")
    assert said in told


TEMPLATE = ("models.base.template", "7e9", "7e9, template: file")
CORPUS = ("models.base.build.corpus", "id: org/base, parameters: 7e9", "build: {corpus: file}")
DATA = ("datasets.dialogues.path", "dialogues}", "dialogues, path: file}")


@pytest.mark.parametrize(
    ("make", "place"),
    [*((make, place) for make in (folder, dangling, binary) for place in (TEMPLATE, CORPUS)),
     (folder, DATA), (dangling, DATA)],
)  # fmt: skip
def test_what_a_study_names_and_nobody_can_read_is_a_problem_at_its_key(study, make, place):
    key, old, new = place
    make(Path("file"))
    study.write_text(STUDY.replace(old, new), encoding="utf-8")
    told = run("check", "arrow").stderr.decode()
    assert told.startswith("loragrid: config/studies/arrow.yaml: 1 problem\n"), told
    assert f"  - {key}: " in told


def test_a_config_that_cannot_be_read_is_named(study):
    Path("model/config.json").mkdir(parents=True)
    study.write_text(STUDY.replace("org/base", "org/base, path: model"), encoding="utf-8")
    told = run("check", "arrow").stderr.decode()
    assert told == "loragrid: models.base: model/config.json: cannot be read (Is a directory)\n"


@pytest.mark.parametrize("arguments", [["schema"], ["--help"]])
def test_pipes_of_a_program_that_calls_a_command_stay_as_they_were(arguments, capsys):
    before = signal.getsignal(signal.SIGPIPE)
    with contextlib.suppress(SystemExit):
        main(arguments)
    assert capsys.readouterr().out
    assert signal.getsignal(signal.SIGPIPE) == before
