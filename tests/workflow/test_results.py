"""What a finished study leaves behind."""

import json
import re

from workspace import jobs


def test_table_has_the_untrained_model_first_and_a_full_row_for_each_run(finished_once):
    rows = finished_once.table()
    assert [row["run"].rsplit("-", 1)[0] for row in rows] == ["untrained", "r2-a4-s42", "r2-a8-s42"]
    for row in rows:
        assert row["status"] == "done"
        for column in ("perplexity", "bits_per_byte", "rouge1", "rouge2", "rougeL", "rougeLsum", "sacrebleu"):
            float(row[column])
    for row in rows[1:]:
        for column in ("rank", "alpha", "scale", "trainable_parameters", "train_loss", "validation_loss"):
            float(row[column])
        low, high = float(row["bits_per_byte_gain_low"]), float(row["bits_per_byte_gain_high"])
        assert low <= float(row["bits_per_byte_gain"]) <= high
    assert [row["scale"] for row in rows[1:]] == ["2", "4"]


def test_cost_has_seconds_tokens_and_memory(finished_once):
    import csv

    with (finished_once.folder / "results/studies/nano/cost.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["seconds_per_answer"]) > 0 and float(row["generation_peak_mib"]) > 0 for row in rows)
    for row in rows[1:]:
        assert float(row["training_seconds"]) > 0
        assert float(row["training_tokens"]) > 0
        assert float(row["training_peak_mib"]) > 0


def test_run_json_says_all_that_is_needed_to_repeat_it(finished_once):
    for run in finished_once.runs().values():
        content = json.loads((run / "run.json").read_text())
        assert content["key"].startswith(run.name.rsplit("-", 1)[1])
        assert content["recipe"]["rank"] == 2
        assert content["environment"]["versions"]["torch"].startswith("2.13.0")
        assert content["environment"]["threads"] >= 1
        assert content["model"]["key"]
        assert len(content["model"]["manifest_sha256"]) == len(content["data"]["manifest_sha256"]) == 64
        assert str(finished_once.folder) not in (run / "run.json").read_text()
        assert str(finished_once.folder) not in (run / "adapter/adapter_config.json").read_text()


def test_nothing_is_pickled(finished_once):
    suffixes = {path.suffix for part in ("data", "results") for path in (finished_once.folder / part).rglob("*")}
    assert not suffixes & {".pt", ".pth", ".bin", ".pkl", ".pickle"}


def test_the_small_model_beats_a_unigram_model(finished_once):
    (model,) = finished_once.folder.glob("data/models/*/model.json")
    held_out = json.loads(model.read_text())["held_out"]
    assert held_out["bits_per_byte"] < held_out["unigram_bits_per_byte"]


def test_tables_are_remade_from_the_scores_alone_to_the_same_bytes(finished):
    folder = finished.folder / "results/studies/nano"
    before = {name: (folder / f"comparison.{name}").read_bytes() for name in ("csv", "md", "tex", "html")}
    made = finished.made()
    for name in before:
        (folder / f"comparison.{name}").unlink()
    finished.snakemake("tables")
    assert {name: (folder / f"comparison.{name}").read_bytes() for name in before} == before
    assert finished.made() == made


def test_report_holds_tables_curves_and_examples_with_captions(finished):
    finished.snakemake("--report", "report.html", "--profile", "none")
    page = (finished.folder / "report.html").read_text().replace("\\n", " ")
    for part in ("Loss curves", "Token lengths", "Example answers", "Comparison", "Cost", "paired 95 % interval"):
        assert part in page, part
    assert re.search(r'"?model"?:\s*"nano"', page)


def test_status_says_that_everything_is_done(finished):
    said = finished.loragrid("status", "nano").stdout
    runs = len(finished.runs())
    assert re.search(rf"^nano: {runs + 1} done$", said, re.M), said
    assert said.startswith("model ")
    assert finished.loragrid("failures", "nano").stdout == "nano: nothing has failed\n"


def test_the_log_has_a_line_or_two_for_each_job(finished_once, finished_log):
    number = sum(jobs(finished_log).values())
    told = re.split(r"^total +\d+$", finished_log, flags=re.M)[1].split("Complete log")[0]
    told = told.split("before training:")[0]  # what is doubtful of the data comes at the end
    lines = [line for line in told.splitlines() if line]
    assert len(lines) <= 2 * number, told
    for name in (run.name for run in finished_once.runs().values()):
        assert re.search(rf"^\[.*\] job \d+: train {name} \(nano on dialogues\)$", told, re.M), told
        assert re.search(rf"of {number} steps .* done: job \d+: train {name} \(nano on dialogues\)$", told, re.M), told
    assert re.search(r": ask untrained nano \(nf4\): test on dialogues$", told, re.M), told
    assert ".json" not in told
    (kept,) = finished_once.folder.glob(".snakemake/log/*.log")
    assert set(lines) <= set(kept.read_text().splitlines())


def test_a_log_in_which_nothing_is_wrong_has_no_warnings(finished_once):
    logs = [*finished_once.folder.glob("results/logs/**/*.log"), *finished_once.folder.glob("results/**/attempt-*.log")]
    said = "\n".join(log.read_text() for log in logs)
    assert "training from step 0" in said
    assert not re.search(r"warning|failed|error|it/s", said, re.I), said
