"""The README keeps its word: every command in it is run, its example study is valid, its picture shows the rules."""

import re
import shlex
import shutil
import subprocess

import pytest
import yaml
from workspace import REPO, environment, jobs

README = (REPO / "README.md").read_text()


def commands() -> list[str]:
    """Lines of the README's sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.S)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


SNAKEMAKE = {
    "snakemake -n": ["-n", "--profile", "none"],
    "snakemake --profile cluster/local": ["--profile", "cluster/local"],
    "snakemake -c1 downloads": ["-c1", "downloads", "--profile", "none"],
    "snakemake -c1 tables": ["-c1", "tables", "--profile", "none"],
    "snakemake --report report.html": ["--report", "report.html", "--profile", "none"],
    "snakemake --rulegraph": ["--rulegraph", "--profile", "none"],
}
"""Run here as a user would, on a finished study."""

ON_SLURM = {"snakemake --profile cluster/slurm"}
"""Run by tests/slurm."""

SCORE = "loragrid score predictions.jsonl --metrics rouge bleu chrf --output scores.json"
EVALUATE = next((command for command in commands() if "as_evaluate" in command), "")

ASK = 'loragrid ask --all --base "My dog ran away."'

IN_CI = {"make demo", "make test"}
"""Run from nothing by .ci/run, which is how this test is run too."""


def test_every_command_is_accounted_for():
    assert set(commands()) == SNAKEMAKE.keys() | IN_CI | ON_SLURM | {
        "loragrid check demo", "loragrid plan demo", "loragrid status demo", "loragrid failures demo",
        "loragrid inspect demo", SCORE, EVALUATE, ASK,
    }  # fmt: skip
    script = (REPO / ".ci/run").read_text().splitlines()
    assert set(script) >= IN_CI


@pytest.mark.parametrize("command", SNAKEMAKE)
def test_command_works_as_written(command, finished):
    finished.snakemake(*SNAKEMAKE[command])


def test_loragrid_check_works_as_written(fresh):
    done = fresh.loragrid("check", "demo")
    assert re.search(r"tiny +dialogues +4 +0 +4 ", done.stdout)


def test_loragrid_inspect_works_as_written(fresh):
    done = fresh.loragrid("inspect", "demo")
    assert "dialogues: " in done.stdout
    assert (fresh.folder / "results/studies/demo/inspect/dialogues.html").exists()


def test_scores_without_a_study_work_as_written(fresh):
    row = '{"id": 1, "prediction": "The cat sat.", "reference": "The cat sat down."}'
    (fresh.folder / "predictions.jsonl").write_text(row)
    fresh.loragrid(*SCORE.split()[1:])
    assert fresh.json("scores.json")["metrics"]["chrf"]["value"] > 50
    done = subprocess.run(["bash", "-c", EVALUATE], cwd=fresh.folder, env=environment() | {"PYTHONPATH": "src"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert re.fullmatch(r"\{'chrf': .*\}\n", done.stdout)


def test_loragrid_ask_works_as_written(finished):
    file = finished.folder / "config/config.yaml"
    file.write_text(file.read_text().replace("study: demo", "study: nano"))
    said = finished.loragrid(*shlex.split(ASK)[1:]).stdout
    assert said.startswith("> My dog ran away.\n\nuntrained nano ")
    assert len(re.findall(r"^r2-a[48]-s42-", said, flags=re.M)) == 2


def test_loragrid_plan_works_as_written(fresh):
    done = fresh.loragrid("plan", "demo")
    assert len(re.findall(r"^tiny +dialogues +r\d+-a\d+-s42", done.stdout, flags=re.M)) == 4
    assert "GPU hours" in done.stdout


def test_loragrid_status_and_failures_work_as_written(fresh):
    assert (
        len(re.findall(r"^tiny +dialogues +r\d+-a\d+-s42-\w+ +waiting", fresh.loragrid("status", "demo").stdout, re.M))
        == 4
    )
    assert fresh.loragrid("failures", "demo").stdout == "demo: nothing has failed\n"


def test_the_example_study_is_valid_and_plans_what_it_says(fresh):
    example, scores = re.findall(r"```yaml\n(.*?)```", README, flags=re.S)
    study = yaml.safe_load(example)
    study["evaluations"]["test"] |= yaml.safe_load(scores)
    fresh.study("scores", yaml.safe_dump(study))
    fresh.loragrid("check", "scores")
    fresh.study("example", example)
    done = fresh.snakemake("-n", study="example")
    # Two ranks × two dropouts and two points, with three seeds each.
    assert re.search(r"mistral +tweetsumm +18 +0 +18 ", done.stderr)
    assert jobs(done.stdout + done.stderr)["train"] == 18


def test_the_table_shown_is_one_that_the_demo_printed():
    study = yaml.safe_load((REPO / "config/studies/demo.yaml").read_text())
    assert study["title"] in README
    for rank in study["grid"]["rank"]:
        for alpha in study["grid"]["alpha"]:
            assert f"r{rank}-a{alpha}-s42-" in README


def test_the_picture_shows_the_rules_of_a_fresh_clone(fresh):
    dot = fresh.snakemake("--rulegraph", study="demo").stdout
    picture = (REPO / "docs/rulegraph.svg").read_text()
    assert set(re.findall(r"<text[^>]*>([a-z_]+)</text>", picture)) == set(re.findall(r'label = "([a-z_]+)"', dot))


def test_files_it_names_are_there():
    for name in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (REPO / name).exists(), name


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_graphviz_draws_the_rulegraph(fresh):
    import subprocess

    dot = fresh.snakemake("--rulegraph", study="demo").stdout
    drawn = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True)
    assert "<svg" in drawn.stdout
