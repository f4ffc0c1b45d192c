"""What cannot be trained is refused before any training, and holds up nothing else."""

import json
import shutil

from workspace import jobs

RECIPE = {"rank": 2, "batch_size": 4, "max_steps": 2, "max_length": 128}


def test_a_run_that_cannot_work_is_settled_without_a_worker_and_the_rest_goes_on(with_data):
    wrong = {"target_modules": ["qkv_proj"]}
    points = [{"name": "good"}, {"name": "bad", **wrong}, {"name": "child", "parent": "bad", **wrong}]
    with_data.study("refused", recipe=RECIPE, grid={}, points=points)
    done = with_data.snakemake(study="refused", fails=True)
    said = done.stdout + done.stderr
    assert said.count("nano on dialogues: cannot be trained: bad, child: target_modules: llama has no qkv_proj") == 1
    rows = {row["label"]: row for row in with_data.table("refused")}
    assert [rows[name]["status"] for name in ("good", "bad", "child")] == ["done", "failed", "failed"]
    assert "failed in preflight: target_modules: llama has no qkv_proj" in rows["bad"]["reason"]
    assert [rows[name]["parent"] for name in ("good", "bad", "child")] == ["", "", "bad"]
    failures = [json.loads(file.read_text()) for file in with_data.folder.glob("results/runs/*/*/*/work/failed.json")]
    assert len(failures) == 2
    # No attempt was made: neither a GPU nor torch was needed.
    assert len(list(with_data.folder.glob("results/runs/*/*/*/work/attempts.jsonl"))) == 1
    # A new start tells it at once, in one message, and has it in no batch.
    done = with_data.snakemake("-n", study="refused")
    assert "before training:\n  - nano on dialogues: cannot be trained: bad, child" in done.stderr
    assert "rule train" not in done.stdout + done.stderr
    for command in ("plan", "status"):
        assert "cannot be trained: bad, child: target_modules" in with_data.loragrid(command, "refused").stdout
    page = (with_data.folder / "results/studies/refused/comparison.md").read_text()
    assert "Before training: cannot be trained: bad, child: target_modules" in page
    # As long as the report is there the refusal stands; whoever deletes it has it made again.
    (report,) = {failure["blocked_by"] for failure in failures}
    (with_data.folder / report).unlink()
    done = with_data.snakemake("-n", study="refused")
    assert jobs(done.stdout + done.stderr)["preflight"] == 1
    assert jobs(done.stdout + done.stderr)["train"] == 2


def test_a_model_that_cannot_be_asked_holds_up_no_other(with_data):
    (nano,) = with_data.folder.glob("data/models/*")
    shutil.copytree(nano, with_data.folder / "broken")
    config = with_data.json("broken/tokenizer_config.json")
    (with_data.folder / "broken/tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<pad>"}))
    models = with_data.yaml("config/studies/nano.yaml")["models"] | {"broken": {"id": "org/broken", "path": "broken"}}
    with_data.study(
        "asked", models=models, untrained=["broken"], recipe=RECIPE, points=[{"name": "good", "model": "nano"}], grid={}
    )
    done = with_data.snakemake(study="asked", fails=True)
    said = done.stdout + done.stderr
    assert said.count("broken on dialogues: cannot be asked: the tokenizer pads with") == 1
    rows = {row["model"]: row for row in with_data.table("asked")}
    assert {name: row["status"] for name, row in rows.items()} == {"nano": "done", "broken": "failed"}
    assert "failed in preflight: the tokenizer pads with" in rows["broken"]["reason"]
    # Neither a GPU nor torch was needed, nor is it asked by a new start.
    assert not list(with_data.folder.glob("results/untrained/*/eval/*/work/attempts.jsonl"))
    again = with_data.snakemake("-n", study="asked")
    assert "broken on dialogues: cannot be asked: the tokenizer pads with" in again.stderr
    assert "rule generate" not in again.stdout + again.stderr
    assert "cannot be asked: the tokenizer pads with" in with_data.loragrid("status", "asked").stdout
    page = (with_data.folder / "results/studies/asked/comparison.md").read_text()
    assert "Before training: cannot be asked: the tokenizer pads with" in page
    # Mended, and the report deleted, it is looked at again, and asked.
    (model,) = with_data.folder.glob("data/models/*broken*")
    (model / "tokenizer_config.json").unlink()  # a link to the file of the same name
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    (failure,) = with_data.folder.glob("results/untrained/*/eval/*/work/failed.json")
    (with_data.folder / json.loads(failure.read_text())["blocked_by"]).unlink()
    with_data.snakemake(study="asked")
    assert {row["status"] for row in with_data.table("asked")} == {"done"}


def test_what_cannot_be_formatted_or_asked_is_told_in_the_table_and_holds_up_nothing_else(with_data):
    points = [{"name": "good"}, {"name": "short", "max_length": 16}]
    (with_data.folder / "bare.jsonl").write_text('{"prompt": "Hello!"}\n')
    nano = with_data.yaml("config/studies/nano.yaml")
    datasets = nano["datasets"] | {"bare": {"source": "prompts", "path": "bare.jsonl", "train": False}}
    evaluations = nano["evaluations"] | {"bare": {"kind": "prompts", "dataset": "bare", "scores": ["rouge"]}}
    with_data.study(
        "short", recipe=RECIPE, points=points, grid={}, untrained=["nano"], datasets=datasets, evaluations=evaluations
    )
    done = with_data.snakemake(study="short", fails=True)
    table = with_data.table("short")
    unasked = [row for row in table if row["evaluation"] == "bare"]
    assert {row["status"] for row in unasked} == {"failed"}
    assert all("there is nothing to ask" in row["reason"] for row in unasked if row["label"] != "short")
    assert "cannot be asked: bare: data/prompts/bare-" in done.stdout + done.stderr
    (log,) = with_data.folder.glob("results/logs/prompts/bare-*.log")
    assert "Prompts without a reference are asked by an evaluation of `kind: replay`" in log.read_text()
    rows = {row["label"] or row["run"]: row for row in table if row["evaluation"] == "test"}
    assert {name: row["status"] for name, row in rows.items()} == {
        "untrained": "done", "good": "done", "short": "failed",
    }  # fmt: skip
    assert "failed in format: " in rows["short"]["reason"]
    assert "none fits max_length=16 tokens" in rows["short"]["reason"]
    assert ".log)" in rows["short"]["reason"]
