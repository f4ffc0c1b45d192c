"""What a user sees before anything runs: the plan, the graph, and every problem of a study at once."""

import re
import subprocess

import pytest
from workspace import NANO, environment, jobs


def test_dry_run_in_a_fresh_clone_plans_without_writing_anything(fresh):
    before = fresh.files("**/*")
    done = fresh.snakemake("-n")
    assert jobs(done.stdout + done.stderr) == {
        "all": 1, "build_model": 1, "clean": 1, "contamination": 1, "download_dataset": 1, "format": 1, "generate": 3,
        "preflight": 2, "prompts": 1, "publish_generations": 3, "publish_run": 2, "publish_score": 9, "score": 3,
        "tabulate": 1, "train": 2,
    }  # fmt: skip
    assert re.search(r"nano +dialogues +2 +0 +2 ", done.stderr)
    assert "GPU hours" in done.stderr
    assert "GPU hours" not in done.stdout
    made = fresh.files("**/*").keys() - before.keys()
    assert {path for path in made if not path.startswith(".snakemake/") and "__pycache__" not in path} == set()


def resources(output: str, rule: str) -> set[str]:
    """The resources that a dry run shows for the jobs of a rule."""
    return set(re.findall(rf"^(?:local)?rule {rule}:\n(?:    .*\n)*?    resources: (.*)$", output, flags=re.M))


def test_jobs_ask_for_what_they_need_and_no_longer_than_the_profile_allows(fresh):
    done = fresh.snakemake("-n", "--default-resources", "runtime=6", "--set-resources", "train:gpu_model=a100")
    said = done.stdout + done.stderr
    assert "on one A100 (a rough estimate" in said
    for rule in ("train", "generate"):
        (asked,) = resources(said, rule)
        assert "gpu=1" in asked
        assert re.search(r"mem_mb=\d{4,},", asked)
        assert "runtime=6" in asked
    assert all(re.search(r"mem_mb=\d{3,4},.*runtime=\d", asked) for asked in resources(said, "score"))


@pytest.mark.parametrize("wanted", [["train:gpu=2"], ["train:gpu=0", "train:gres=gpu:t4:2"]], ids=["gpu", "gres"])
def test_two_gpus_in_the_profile_mean_two_processes(wanted, fresh):
    memory = []
    for options in (["train:gpu=1"], wanted):
        done = fresh.snakemake("-n", "-p", "--set-resources", *options)
        (asked,) = resources(done.stdout + done.stderr, "train")
        memory.append(int(re.search(r"mem_mb=(\d+)", asked)[1]))
    assert memory[1] == pytest.approx(2 * memory[0], abs=2)
    assert "--gpus 2 " in done.stdout + done.stderr


def test_a_model_spread_over_two_gpus_is_trained_and_asked_on_two(fresh):
    fresh.study("nano", NANO.read_text().replace("  nano:\n", "  nano:\n    gpus: 2\n    sharded: true\n"))
    done = fresh.snakemake("-n")
    for rule in ("train", "generate"):
        (asked,) = resources(done.stdout + done.stderr, rule)
        assert "gpu=2" in asked
    done = fresh.snakemake("-n", "--set-resources", "train:gpu=1", fails=True)
    assert "models.nano: is spread over 2 GPUs (`sharded`), and the profile gives 1" in done.stdout + done.stderr


def test_plan_shows_each_run_before_anything_is_there(fresh):
    said = fresh.loragrid("plan", "nano").stdout
    assert len(re.findall(r"^nano +dialogues +r2-a[48]-s42\S* .* estimate$", said, flags=re.M)) == 2
    assert re.search(r"^nano +untrained, nf4 .* estimate$", said, flags=re.M)
    assert re.search(r"^\S+ GPU hours to go, on one T4: a rough estimate\.$", said, flags=re.M)
    assert "'h200' is not known; there are t4, v100, a100, " in fresh.loragrid(
        "plan", "nano", "--device", "h200", fails=True
    ).stderr  # fmt: skip


def test_dry_run_without_a_profile_of_a_finished_study_finds_nothing_to_do(finished):
    done = finished.snakemake("-n", "--profile", "none")
    assert "Nothing to be done" in done.stdout + done.stderr
    assert re.search(r"nano +dialogues +2 +2 +0 ", done.stderr)


def test_graphs_are_dot_and_nothing_else(fresh):
    for option in ("--dag", "--rulegraph"):
        dot = fresh.snakemake(option).stdout
        assert re.fullmatch(
            r"digraph snakemake_dag \{\n(?:\s+(?:graph|node|edge)\[.*?\];|\s*\d+\[.*?\];?|\s*\d+ -> \d+;?|\s)*\}\s*",
            dot,
            flags=re.S,
        ), dot[:800]


def test_bad_study_is_refused_with_all_its_problems_and_no_traceback(fresh):
    fresh.study(
        "bad",
        models={"nano": {"build": {"corpus": "data/nothing.jsonl", "layerz": 2}}},
        grid={"rank": [2, -1], "alhpa": [4]},
        untrained=["micro"],
        recipe={"schedule": "linaer"},
    )
    done = fresh.snakemake("-n", study="bad", fails=True)
    said = done.stdout + done.stderr
    for part in (
        "config/studies/bad.yaml",
        "models.nano.build.layerz",
        "grid.rank[1]",
        "grid.alhpa",
        "alpha",
        "recipe.schedule",
        "'cosine'",
    ):
        assert part in said, said
    assert "Traceback" not in said


def test_what_trainings_report_to_is_said_in_the_config_file(fresh):
    config = fresh.folder / "config/config.yaml"
    text = config.read_text()
    config.write_text(text.replace("report_to: []", "report_to: [tensorboard, wandb]"))
    assert " --report-to tensorboard --report-to wandb >> " in fresh.snakemake("-n", "-p").stdout
    config.write_text(text.replace("report_to: []", "report_to: [tensorbord]"))
    done = fresh.snakemake("-n", fails=True)
    assert "report_to: ['tensorbord'] is not a list of some of tensorboard, wandb" in done.stdout + done.stderr


def test_unknown_study_lists_those_there_are(fresh):
    done = fresh.snakemake("-n", study="dmeo", fails=True)
    assert "Did you mean 'demo'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("word", ["nan", "1_000", "007", "True"])
def test_a_study_may_be_called_like_a_number(fresh, word):
    fresh.study(word)
    assert f"study {word}: A study small enough" in fresh.snakemake("-n", study=word).stderr


@pytest.mark.parametrize("word", ["1_000", "0x10", "true", "null", "2026-01-31"])
def test_a_study_may_be_called_like_a_number_in_the_config_file(fresh, word):
    fresh.study(word)
    config = fresh.folder / "config/config.yaml"
    config.write_text(config.read_text().replace("study: demo", f"study: {word}"))
    command = [part for part in fresh.command("-n", study=word) if part not in ("--config", f"study={word}")]
    done = subprocess.run(command, cwd=fresh.folder, env=environment(), capture_output=True, text=True, check=True)
    assert f"study {word}: A study small enough" in done.stderr


def test_job_processes_know_a_study_that_is_called_like_a_number(fresh):
    fresh.study("1e5")
    options = ("--profile", "cluster/submitit", "--submitit-cluster", "local")
    fresh.snakemake(*options, "--until", "clean", study="1e5")
    assert list(fresh.folder.glob("data/clean/*/cleaning.json"))


@pytest.mark.parametrize("encoding", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=str)
def test_signs_that_the_terminal_and_the_logs_encoding_lack_are_escaped(fresh, monkeypatch, encoding):
    for name, value in encoding.items():
        monkeypatch.setenv(name, value)
    arrow = NANO.read_text().replace("A study small enough for tests", "Dialogues → answers")
    fresh.study("nano", arrow)
    done = fresh.snakemake("--until", "clean")
    said = done.stdout + done.stderr
    assert "study nano: Dialogues \\u2192 answers" in said
    assert "Traceback" not in said
    fresh.study("nano", arrow.replace("rank:", "r→nk:"))
    said = fresh.snakemake("--until", "clean", fails=True).stderr
    assert "grid.r\\u2192nk: unknown key" in said
    assert "Traceback" not in said


def test_lint_is_clean(fresh):
    done = fresh.snakemake("--lint", "--profile", "none")
    assert "Congratulations" in done.stdout + done.stderr


def test_tables_of_a_study_that_never_ran_show_every_run_as_missing(fresh):
    fresh.snakemake("tables")
    rows = fresh.table()
    assert [row["run"].rsplit("-", 1)[0] for row in rows] == ["untrained", "r2-a4-s42", "r2-a8-s42"]
    assert {row["status"] for row in rows} == {"missing"}
    assert all(row["reason"] for row in rows)


def test_downloads_are_all_that_needs_the_internet(fresh):
    (fresh.folder / "config/studies/far.yaml").write_text(
        "{title: x, models: {far: {id: org/far, parameters: 1e9}, made: {build: {corpus: data/demo/corpus.jsonl}}},"
        " datasets: {ed: {source: empathetic_dialogues}, quiz: {source: turkishmmlu, train: false},"
        " unused: {source: cmmlu, train: false}}, evaluations: {own: {}, quiz: {dataset: quiz}}}"
    )
    done = fresh.snakemake("-n", "downloads", study="far")
    assert jobs(done.stdout + done.stderr) == {"download_dataset": 2, "download_model": 1, "downloads": 1}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("batch_minutes=-3", "batch_minutes: -3 is not a number of minutes: 0 gives each run a job of its own"),
        ("batch_minutes=soon", "batch_minutes: 'soon' is not a number of minutes"),
        (
            "batch_minute=30",
            "config: batch_minute: there is no such key; there are: study, checkpoint_minutes, batch_min",
        ),
    ],
)
def test_a_key_of_the_configuration_that_is_wrong_is_told(fresh, said, message):
    command = [*fresh.command("-n"), said]  # --config takes all that follows
    done = subprocess.run(command, cwd=fresh.folder, env=environment(), text=True, capture_output=True, check=False)
    assert done.returncode
    assert message in done.stdout + done.stderr
