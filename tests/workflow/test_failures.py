"""What happens when something goes wrong: the rest goes on, the tables say so, nothing looks finished that is not."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from workspace import environment


@pytest.fixture
def slow(with_data):
    """A study of one longer run, to be interrupted."""
    recipe = {"learning_rate": 2e-3, "batch_size": 4, "epochs": 8, "dropout": 0.1, "max_length": 128, "evaluations": 2}
    with_data.study("slow", grid={"rank": [2]}, recipe=recipe, untrained=[])
    return with_data


def test_killed_training_leaves_nothing_that_looks_finished_and_is_done_again(slow):
    output = slow.folder / "output.log"
    with output.open("w") as said:
        process = subprocess.Popen(slow.command(study="slow"), cwd=slow.folder, env=environment(), stdout=said,
                                   stderr=said, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + 120
    while not any(file.stat().st_size for file in slow.folder.glob("results/runs/*/*/*/work/training.jsonl")):
        assert time.monotonic() < deadline, slow.last_logs()
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (run,) = slow.runs().values()
    assert not (run / "run.json").exists()
    assert not (run / "adapter").exists()
    assert not list(slow.folder.glob("results/batches/train-*.done"))
    slow.snakemake("--unlock", study="slow")
    slow.snakemake("tables", study="slow")
    (row,) = slow.table("slow")
    assert row["status"] == "missing"
    slow.snakemake("--rerun-incomplete", study="slow")
    (row,) = slow.table("slow")
    assert row["status"] == "done"
    assert slow.json(run / "run.json")["cost"]["attempts"] == 2
    records = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == list(range(1, 49))


def test_a_run_that_fails_for_good_is_told_once_and_the_rest_goes_on(with_data):
    # A learning rate at which the loss is not a number after the first steps.
    recipe = {"rank": 2, "batch_size": 4, "max_steps": 4, "max_length": 128}
    with_data.study("diverging", grid={"learning_rate": [2e-3, 1e30]}, recipe=recipe)
    done = with_data.snakemake(study="diverging", fails=True)
    rows = {row["learning_rate"]: row for row in with_data.table("diverging")}
    assert rows["0.002"]["status"] == "done"
    failed = rows["1e+30"]
    assert failed["status"] == "failed"
    assert "loss is" in failed["reason"]
    assert "attempt-1.log" in failed["reason"]
    bad = next(path.parent.parent for path in with_data.folder.glob("results/runs/*/*/*/work/failed.json"))
    assert "failed.json" in done.stdout + done.stderr
    # A new start tells the reason at once and does not train again.
    with_data.snakemake(study="diverging", fails=True)
    assert sorted(file.name for file in (bad / "work").glob("attempt-*.log")) == ["attempt-1.log"]
    # Whoever deletes the record gets another attempt.
    (bad / "work/failed.json").unlink()
    with_data.snakemake(study="diverging", fails=True)
    assert (bad / "work/attempt-2.log").exists()


def test_an_empty_split_stops_before_training_and_leaves_no_half_dataset(with_model):
    raw = with_model.folder / "data/demo/empathetic_dialogues/valid.csv"
    raw.write_text(raw.read_text().splitlines()[0] + "\n")
    done = with_model.snakemake(fails=True)
    assert "validation" in done.stdout + done.stderr
    assert not list(with_model.folder.glob("data/clean/*/cleaning.json"))
    assert not list(with_model.folder.glob("results/runs/*/*/*/work"))
    assert {row["status"] for row in with_model.table()} == {"failed"}
    assert all(row["reason"].startswith("failed in clean: ") for row in with_model.table())


def test_a_missing_column_is_told_with_file_and_columns(with_model):
    raw = with_model.folder / "data/demo/empathetic_dialogues/train.csv"
    raw.write_bytes(raw.read_bytes().replace(b"utterance,selfeval", b"text,selfeval", 1))
    done = with_model.snakemake(fails=True)
    said = done.stdout + done.stderr
    assert "train.csv" in said
    assert "utterance" in said
    assert re.search(r"Error in rule clean:\n +message: clean empathetic_dialogues-", said)


def test_the_tables_job_fails_when_the_tables_cannot_be_written(fresh):
    (fresh.folder / "results/studies/nano/comparison.tex/in_the_way").mkdir(parents=True)
    done = fresh.snakemake("tables", fails=True)
    assert "Error in rule tables" in done.stdout + done.stderr
