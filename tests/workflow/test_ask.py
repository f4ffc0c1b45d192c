"""`loragrid ask`: the quickest look at what a grid has learned."""

import json
import shutil

import pytest
import yaml
from workspace import NANO

from loragrid.errors import UserError
from loragrid.generation.ask import ask
from loragrid.generation.questions import questions
from loragrid.generation.subjects import subjects_of
from loragrid.plugins import REGISTRY
from loragrid.study.open import open_study
from loragrid.study.subjects import names_of

DECODING = {"max_new_tokens": 8, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}


@pytest.fixture
def grid(finished_once, monkeypatch):
    monkeypatch.chdir(finished_once.folder)
    return open_study("nano", REGISTRY)


def test_runs_and_their_base_answer_what_they_answered_in_the_evaluation(grid, finished_once):
    (prompts,) = finished_once.folder.glob("data/prompts/**/*.jsonl")
    asked = questions(None, prompts)
    subjects = subjects_of(grid, list(grid.runs.values()), base=True)
    assert subjects[0].name == "untrained nano"
    said = [[answer["answer"] for answer in answers] for answers in ask(subjects, asked, DECODING)]
    folders = [*(each.folder for each in grid.untrained.values()), *grid.runs]
    for answers, folder in zip(said, folders, strict=True):
        (file,) = (finished_once.folder / folder).glob("eval/*/generations.jsonl")
        assert answers == [json.loads(line)["answer"] for line in file.read_text().splitlines()]
    # Asked in another order, and so over a base that others were over before, they say the same.
    again = [[each["answer"] for each in answers] for answers in ask(subjects[::-1], asked, DECODING)]
    assert again == said[::-1]


def test_all_runs_are_shown_beside_each_other(finished_once, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Today my dog ran away.\n\nI won a prize!\n")
    done = finished_once.loragrid(
        "ask", "--study", "nano", "--all", "--base", "--file", str(prompts), "--max-new-tokens", "4"
    )
    blocks = done.stdout.split("> ")[1:]
    assert [block.splitlines()[0] for block in blocks] == ["Today my dog ran away.", "I won a prize!"]
    for block in blocks:
        for name in ("untrained nano", "r2-a4-s42", "r2-a8-s42"):
            assert block.count(f"\n{name}") == 1, block


def test_the_base_is_asked_alone(finished_once):
    done = finished_once.loragrid("ask", "--base", "Today my dog ran away.", "--study", "nano", "--max-new-tokens", "4")
    assert done.stdout.startswith("> Today my dog ran away.\n\nuntrained nano")
    assert "r2-a" not in done.stdout


def test_a_prompt_that_is_longer_than_the_context_is_told_with_the_answer_alone(finished_once):
    done = finished_once.loragrid(
        "ask", "--base", "My dog ran away. " * 200, "--study", "nano", "--max-new-tokens", "4"
    )
    assert "(the prompt is longer than the model's context, and was asked without its beginning)" in done.stdout
    assert done.stdout.count("My dog") < 200
    assert "sequence length" not in done.stderr


def test_a_run_is_found_by_the_beginning_of_its_name(finished_once):
    done = finished_once.loragrid("ask", "r2-a4", "Today my dog ran away.", "--study", "nano")
    assert done.stdout.startswith("> Today my dog ran away.\n\nr2-a4-s42-")
    assert done.stdout.count("r2-a") == 1


@pytest.mark.parametrize(("arguments", "said"), [
    (["r2-a4"], "name a run and what to ask it"),
    (["--all", "r2-a4", "Hello"], "name runs, or --all of them"),
    (["--all"], "say what to ask, or name a --file of prompts"),
    (["r2", "Hello"], "several runs are called 'r2' in nano; there are: results/runs/"),
    (["r9", "Hello"], "no run is called 'r9' in nano; there are: r2-a4-s42-"),
    (["r2-a4", " "], "a prompt is empty"),
    (["r2-a4", "--file", "none.jsonl"], "none.jsonl: no such file"),
    (["r2-a4", "--file", "none.txt"], "none.txt: cannot be read"),
    (["r2-a4", "Hello", "--max-new-tokens", "256"], "leaves no room for a prompt"),
    (["r2-a4", "Hello", "--temperature", "-1"], "'-1' is not a number, 0 or more"),
])  # fmt: skip
def test_what_cannot_be_asked_is_told(finished_once, arguments, said):
    done = finished_once.loragrid("ask", *arguments, "--study", "nano", fails=True)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_options_may_stand_between_run_and_prompt(finished_once):
    arguments = ["r2-a4", "--study", "nano", "--base", "Today my dog ran away.", "--max-new-tokens", "4"]
    assert finished_once.loragrid("ask", *arguments).stdout.startswith("> Today my dog ran away.\n\nuntrained nano ")
    assert "unrecognized arguments: --alle" in finished_once.loragrid("ask", "r2-a4", "Hi", "--alle", fails=True).stderr


def test_one_that_cannot_be_asked_is_named_and_the_answers_of_others_are_shown(finished):
    (folder,) = finished.folder.glob("results/runs/*/*/r2-a4-*/adapter")
    (folder / "adapter_config.json").write_text("{}")
    done = finished.loragrid("ask", "--all", "Hello", "--study", "nano", fails=True)
    # Though it would be asked before the other.
    assert done.stdout.startswith("> Hello\n\nr2-a8-s42-")
    assert "r2-a4-s42-" in done.stderr
    assert "adapter_config.json: is not the adapter that was trained here" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_was_deleted_is_told(finished):
    for folder in finished.folder.glob("data/models/*"):
        shutil.rmtree(folder)
    done = finished.loragrid("ask", "r2-a4", "Hello", "--study", "nano", fails=True)
    assert "the model is gone; `snakemake data/models/" in done.stderr
    assert "Traceback" not in done.stderr


def test_seeds_of_one_label_and_chats_of_one_model_have_names_of_their_own(fresh, monkeypatch):
    monkeypatch.chdir(fresh.folder)
    fresh.study("seeds", grid={}, points=[{"name": "good", "rank": 2}], seeds=[1, 2])
    grid = open_study("seeds", REGISTRY)
    names = names_of(grid, list(grid.runs.values()))
    assert len(set(names)) == 2
    assert all("-s1-" in name or "-s2-" in name for name in names)


def test_a_prompt_without_its_beginning_is_told(finished_once):
    done = finished_once.loragrid("ask", "r2-a4", "Today my dog ran away. " * 60, "--study", "nano")
    assert "was asked without its beginning" in done.stdout


def test_what_is_not_trained_is_told(fresh):
    done = fresh.loragrid("ask", "r2-a4", "Hello", "--study", "nano", fails=True)
    assert "not trained yet: r2-a4-s42-" in done.stderr
    done = fresh.loragrid("ask", "--all", "Hello", fails=True)  # config/config.yaml says demo
    assert "see `loragrid status demo`" in done.stderr


def test_an_adapter_that_was_changed_is_refused(finished):
    for file in finished.folder.glob("results/runs/*/*/r2-a4-*/adapter/adapter_model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1] + b"\1")
    done = finished.loragrid("ask", "r2-a4", "Hello", "--study", "nano", fails=True)
    assert "is not the adapter that was trained here" in done.stderr


@pytest.mark.parametrize("row", ['{"text": "Hello"}', '["Hello"]', '{"messages": []}',
                                 '{"messages": [{"role": "assistant", "content": "Hello"}]}'])  # fmt: skip
def test_a_row_that_is_no_prompt_is_told_with_its_number(tmp_path, row):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Hello"}\n' + row + "\n")
    with pytest.raises(UserError, match=r"prompts\.jsonl, row 2: needs `prompt`"):
        questions(None, file)


def test_the_nano_study_decodes_as_is_assumed_here():
    assert yaml.safe_load(NANO.read_text())["evaluations"]["test"]["decoding"] == {"max_new_tokens": 8}
