"""Nothing is trained, generated or scored twice: shown by file times after real executions."""

import json
import os
import re
from pathlib import Path

import pytest
from workspace import Workspace, jobs


def unchanged(before: dict[str, int], after: dict[str, int]) -> bool:
    return all(after.get(path) == time for path, time in before.items())


def test_adding_an_alpha_makes_exactly_the_new_run(finished):
    before = finished.made()
    finished.study("nano", grid={"rank": [2], "alpha": [4, 8, 16]})
    done = finished.snakemake()
    assert jobs(done.stdout + done.stderr) == {
        "all": 1, "generate": 1, "publish_generations": 1, "publish_run": 1, "publish_score": 3, "score": 1,
        "tabulate": 1, "train": 1,
    }  # fmt: skip
    after = finished.made()
    assert unchanged(before, after)
    assert {path.split("/")[4] for path in after.keys() - before.keys()} == {finished.runs()["r2-a16-s42"].name}
    assert len(finished.table()) == 4
    assert {row["status"] for row in finished.table()} == {"done"}


def test_raising_a_metrics_version_makes_its_scores_only(finished):
    before = finished.made()
    raise_version(finished, "rouge")
    done = finished.snakemake()
    assert jobs(done.stdout + done.stderr) == {"all": 1, "publish_score": 3, "score": 2, "tabulate": 1}
    after = finished.made()
    assert unchanged(before, after)
    new = {path for path in after.keys() - before.keys() if "/work/" not in path}
    assert {Path(path).name.split("-")[0] for path in new} == {"rouge"}
    assert len(new) == 3


@pytest.mark.slow
def test_raising_the_likelihoods_version_generates_nothing(finished):
    before = finished.made()
    raise_version(finished, "likelihood")
    done = finished.snakemake()
    assert jobs(done.stdout + done.stderr) == {"all": 1, "generate": 2, "publish_score": 3, "tabulate": 1}
    after = finished.made()
    work = {path: time for path, time in before.items() if "/work/" in path}  # logs and attempts grow there
    assert unchanged({path: time for path, time in before.items() if path not in work}, after)
    new = {path for path in after.keys() - before.keys() if "/work/" not in path}
    assert {Path(path).name.split("-")[0] for path in new} == {"likelihood"}
    assert len(new) == 3
    # A second time, the batches have the same members again, and must still be worked on.
    raise_version(finished, "likelihood", 13)
    done = finished.snakemake()
    assert jobs(done.stdout + done.stderr) == {"all": 1, "generate": 2, "publish_score": 3, "tabulate": 1}


def test_two_studies_share_a_run_and_the_untrained_model(finished):
    before = finished.made()
    finished.study("other", title="Another study with one of the runs", grid={"rank": [2], "alpha": [8]})
    done = finished.snakemake(study="other")
    assert jobs(done.stdout + done.stderr) == {"all": 1, "tabulate": 1}
    assert finished.made() == before
    assert [row["status"] for row in finished.table("other")] == ["done", "done"]
    ours = {row["run"]: row["bits_per_byte"] for row in finished.table("nano")}
    assert all(ours[row["run"]] == row["bits_per_byte"] for row in finished.table("other"))


def test_editing_code_comments_and_profile_and_touching_files_retrains_nothing(finished):
    for file in (finished.folder / "src").rglob("*.py"):
        file.write_text(file.read_text() + "\n# a comment\n")
    for file in (finished.folder / "workflow").rglob("*.smk"):
        file.write_text(file.read_text().replace("shell:\n", "shell:  # another comment\n"))
    profile = finished.folder / "cluster/local/profile.yaml"
    profile.write_text(profile.read_text().replace("retries: 2", "retries: 1"))
    for pattern in ("data/**/*", "config/**/*", "envs/*"):
        for path in finished.folder.glob(pattern):
            os.utime(path)
    before = finished.made()
    done = finished.snakemake()
    assert set(jobs(done.stdout + done.stderr)) <= {"all", "tabulate"}
    assert finished.made() == before


def test_deleting_downloads_and_intermediate_data_retrains_nothing(finished):
    import shutil

    before = finished.made()
    for folder in ("raw", "clean", "formatted", "prompts"):
        shutil.rmtree(finished.folder / "data" / folder)
    finished.snakemake()
    assert finished.made() == before


def test_deleted_answers_are_made_again_and_nothing_else(finished):
    """As `check` says it, though all scores of them are there."""
    run = finished.runs()["r2-a4-s42"]
    (file,) = run.glob("eval/*/generations.jsonl")
    texts = [json.loads(line)["answer"] for line in file.read_text().splitlines()]
    before = finished.made()
    for name in ("generations.jsonl", "generation.json"):
        for place in (file.parent, file.parent / "work"):
            (place / name).unlink()
    assert "answers to make: 1 of" in finished.loragrid("check", "nano").stdout
    finished.snakemake()
    assert [json.loads(line)["answer"] for line in file.read_text().splitlines()] == texts
    after = finished.made()
    remade = {name for name in before if after[name] != before[name]}
    folder = str(file.parent.relative_to(finished.folder))
    assert f"{folder}/generations.jsonl" in remade
    assert all(name.startswith(folder) and "/scores/" not in name for name in remade)


def test_a_deleted_run_is_trained_again_to_the_same_adapter(finished):
    import shutil

    run = finished.runs()["r2-a4-s42"]
    adapter = (run / "adapter/adapter_model.safetensors").read_bytes()
    other = finished.runs()["r2-a8-s42"]
    before = finished.files(str(other.relative_to(finished.folder)) + "/**/*")
    shutil.rmtree(run)
    finished.snakemake()
    assert (run / "adapter/adapter_model.safetensors").read_bytes() == adapter
    assert finished.files(str(other.relative_to(finished.folder)) + "/**/*") == before


def raise_version(workspace: Workspace, metric: str, version: int = 12) -> None:
    file = workspace.folder / f"src/loragrid/metrics/{metric}.py"
    text, replaced = re.subn(r"^VERSION = \d+", f"VERSION = {version}", file.read_text(), flags=re.M)
    assert replaced == 1
    file.write_text(text)
