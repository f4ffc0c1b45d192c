"""What `loragrid status` says of each state that a run can be in."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from snakemake_executor_plugin_submitit.options import job_name


def summary(place) -> str:
    return place.loragrid("status", "small").split("\n\n")[-1]


# -- rows


def test_a_line_for_each_untrained_model_and_each_run(place):
    assert list(place.cells()) == ["untrained, 16bit", place.first.name, place.second.name]
    assert place.cells()[place.first.name] == {
        "model": "base", "dataset": "dialogues", "run": place.first.name,
        "train": "waiting", "generate": "waiting", "score": "waiting",
    }  # fmt: skip
    assert place.cells()["untrained, 16bit"]["train"] == ""
    assert "small: 3 waiting" in summary(place)


def test_what_is_done(place):
    answers = place.answers(place.first)
    place.finish(place.first)
    assert [place.cell(place.first, stage) for stage in ("train", "generate")] == ["done", "waiting"]
    place.answer(answers)
    assert [place.cell(place.first, stage) for stage in ("generate", "score")] == ["done", "waiting"]
    place.score(answers)
    assert place.cell(place.first, "score") == "done"
    assert "small: 1 done, 2 waiting" in summary(place)


def test_data_is_told_as_long_as_something_waits_for_it(place):
    (raw,), (model,) = place.grid.raw.values(), place.grid.models.values()
    text = place.loragrid("status", "small")
    assert re.search(rf"^download +{raw.id} +waiting$", text, re.M)
    assert re.search(rf"^download +{model.id} +waiting$", text, re.M)
    assert "data: download 0/2, clean 0/1, format 0/1, prompts 0/1, contamination 0/1, preflight 0/2" in text
    place.write(f"{raw.folder}/provenance.json")
    place.write(f"results/logs/download_model/{model.id}.log", "loragrid: org/base: the hub cannot be reached\n")
    text = place.loragrid("status", "small")
    assert raw.id not in text.split("\n\n")[0]
    assert re.search(rf"^download +{model.id} +failed: org/base: the hub cannot be reached$", text, re.M)
    assert "data: download 1/2" in text
    place.data()
    assert "download" not in place.loragrid("status", "small")


def test_a_study_that_is_done_needs_no_data_and_no_workflow(place):
    for run in (place.first, place.second):
        place.finish(run)
    for answers in place.grid.answers.values():
        place.answer(answers)
        place.score(answers)
    for report in place.grid.contamination.values():
        place.write(report.file)
    assert summary(place).strip() == "small: 3 done"


# -- training


def test_running_with_step_loss_and_time_left(place, process):
    place.attempt(place.first, pid=process.pid, log="some warning\n")
    place.standing(place.first, "steps", 20, 60, loss=2.8)
    # 20 steps in 100 seconds, 40 to go.
    assert place.cell(place.first) == "running 20/60, loss 2.800, 3 min left"


def test_an_attempt_that_goes_on_is_paced_by_its_own_steps(place, process):
    place.attempt(place.first, "terminated")
    place.attempt(
        place.first,
        number=2,
        pid=process.pid,
    )
    place.standing(place.first, "steps", 20, 60, first=10)
    # 10 steps in 100 seconds, 40 to go.
    assert place.cell(place.first).endswith("7 min left")


def test_the_limit_of_the_job_is_told_if_it_comes_first(place, process):
    place.queue(("7", "RUNNING", "None", "3:00", ""))
    place.attempt(place.first, pid=process.pid, job="7")
    place.standing(place.first, "steps", 20, 600)
    assert place.cell(place.first).endswith(" min left, its job ends in 3 min")


def test_loading_before_the_first_step(place, process):
    place.attempt(place.first, pid=process.pid)
    assert place.cell(place.first) == "running, loading"


def test_a_half_written_last_line_is_left_out(place, process):
    place.attempt(place.first, pid=process.pid)
    place.standing(place.first, "steps", 20, 60, loss=2.8)
    with Path(place.first.folder, "work/attempts.jsonl").open("a") as file:
        file.write('{"attempt": 1, "end')
    assert place.cell(place.first).startswith("running 20/60, loss 2.800")


def test_killed_if_the_process_is_gone(place, process):
    place.attempt(place.first, pid=process.pid)
    process.kill()
    process.wait()
    assert place.cell(place.first) == "killed?"
    assert "1 interrupted" in summary(place)


def test_a_process_that_only_has_the_number_of_the_one_that_began(place, process):
    place.attempt(place.first, pid=process.pid, started=time.time() - 3600)
    assert place.cell(place.first) == "killed?"


def test_on_another_machine_the_last_sign_of_life_counts(place):
    place.attempt(place.first, host="elsewhere")
    place.standing(place.first, "steps", 0, 60)
    assert place.cell(place.first) == "running 0/60"
    old = time.time() - 7200
    for file in Path(place.first.folder, "work").iterdir():
        os.utime(file, (old, old))
    records = Path(place.first.folder, "work/attempts.jsonl")
    records.write_text(json.dumps(json.loads(records.read_text()) | {"started": old}) + "\n")
    os.utime(records, (old, old))
    assert place.cell(place.first) == "killed?"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("stopped", "stopped at step 20, will go on"),
        ("terminated", "terminated at step 20, will go on"),
        ("killed", "killed, will go on"),
        ("out of memory", "out of the GPU's memory, will be tried again"),
        ("out of host memory", "out of the host's memory, will be tried again"),
    ],
)
def test_attempts_that_will_be_continued(place, ended, told):
    place.attempt(place.first, ended)
    place.steps(place.first, 20)
    assert place.cell(place.first) == told


def test_finished_and_not_published(place):
    place.attempt(place.first, "finished")
    place.write(f"{place.first.folder}/work/run.json", {"key": place.first.key})
    assert place.cell(place.first) == "trained, waits to be published"
    assert "small: 3 waiting" in summary(place)
    log = f"results/logs/publish_run/{place.first.folder.removeprefix('results/runs/')}.log"
    place.write(log, "Traceback (most recent call last):\n  …\nOSError: [Errno 28] No space left on device\n")
    assert place.cell(place.first) == "failed: OSError: [Errno 28] No space left on device"


def test_failed_for_good_or_for_now(place):
    place.fail(place.first, "train", "the training loss is nan at step 3: a lower\nlearning rate")
    place.attempt(place.second, "failed", why="RuntimeError: what")
    assert place.cell(place.first) == "failed: the training loss is nan at step 3: a lower learning rate"
    assert place.cell(place.second) == "failed: RuntimeError: what (the next start tries again)"
    assert "why something failed: loragrid failures small" in summary(place)


def test_a_job_that_fails_before_its_attempt_begins(place):
    id_ = place.batch("train", place.first.folder)
    place.write(f"results/logs/train/{id_}.log", "/usr/bin/python3: No module named loragrid\n")
    assert place.cell(place.first) == "failed: No module named loragrid"
    assert place.cell(place.second) == "waiting"


@pytest.mark.parametrize("name", ["failed.json", "attempts.jsonl"])
@pytest.mark.parametrize("content", ["[1]\n", "{\n", '"\n', "7\n", "\x00\n", '{"attempt": []}\n'])
def test_a_damaged_record_is_told_in_its_cell(place, name, content):
    place.write(f"{place.first.folder}/work/{name}", content)
    cell = place.cell(place.first)
    # A failure without anything in it is one for a reason that is not on record.
    assert cell.startswith("failed: ")
    assert name in cell or "None" in cell
    assert place.cell(place.second) == "waiting"


@pytest.mark.parametrize("content", ["", "[]", '{"key": "0"}'])
def test_a_damaged_result_is_told_in_its_cell(place, content):
    place.write(f"{place.first.folder}/run.json", content)
    assert re.match(r"failed: .*run\.json: (damaged|made with other settings); delete ", place.cell(place.first))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "\x00\xff",
        '{"what": "steps"}',
        '{"what": "steps", "first": 0, "done": "x", "total": 60, "began": 9e9, "at": 9e9}',
    ],
)
def test_a_damaged_standing_hides_no_more_than_the_steps(place, process, content):
    place.attempt(place.first, pid=process.pid)
    place.write(f"{place.first.folder}/work/standing.json", content)
    assert place.cell(place.first) == "running, loading"


def test_control_characters_do_not_reach_the_terminal(place):
    place.fail(place.first, "train", "\x1b[2J\x1b]0;title\x07 and \u202e more")
    text = place.loragrid("status", "small") + place.loragrid("failures", "small")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert r"\x1b[2J\x1b]0;title\x07 and \u202e more" in text


# -- answers and scores


def test_answers_that_are_being_made(place, process):
    answers = place.answers(place.untrained)
    place.data()
    place.attempt(answers, pid=process.pid)
    assert place.cell(place.untrained, "generate") == "running, loading"
    place.standing(answers, "answers", 10, 40)
    assert place.cell(place.untrained, "generate") == "running 10/40 answers, 5 min left"
    place.standing(answers, "likelihoods", 30, 40, first=30)
    assert place.cell(place.untrained, "generate") == "running 30/40 likelihoods"


def test_what_an_earlier_attempt_wrote_does_not_count(place, process):
    place.standing(place.first, "steps", 20, 60)
    place.began += 200
    place.attempt(place.first, "terminated")
    place.attempt(place.first, number=2, pid=process.pid)
    assert place.cell(place.first) == "running, loading"


def test_answers_that_are_made_and_not_published(place):
    answers = place.answers(place.untrained)
    place.attempt(answers, "finished")
    for product in (answers.generations, *answers.score_files("model").values()):
        place.write(f"{answers.folder}/work/{Path(product).name}")
    assert place.cell(place.untrained, "generate") == "answered, waits to be published"
    assert "interrupted" not in summary(place)


def test_answers_of_a_run_that_failed(place):
    cause = place.fail(place.first, "train", "the training loss is nan")
    answers = place.answers(place.first)
    place.fail(answers, "generate", "its training failed: the training loss is nan", blocked_by=str(cause))
    assert place.cell(place.first, "generate") == "failed: its training failed: the training loss is nan"
    assert place.cell(place.first, "score") == "failed: its answers failed"
    said = place.loragrid("failures", "small")
    assert said.count("to try again") == said.count("cannot go on because of it: score of") == 1
    cause.unlink()
    assert place.cell(place.first, "generate") == place.cell(place.first, "score") == "waiting"


def test_a_score_that_failed(place):
    answers = place.answers(place.untrained)
    place.answer(answers)
    record = {"reason": "no answer to prompt 'a'", "stage": "score", "log": "x.log", "blocked_by": None}
    failure = place.write(f"{answers.folder}/work/{Path(answers.score_file('rouge')).stem}.failed.json", record)
    assert place.cell(place.untrained, "score") == "failed: no answer to prompt 'a'"
    failure.unlink()
    assert place.cell(place.untrained, "score") == "waiting"


def test_scoring_whose_job_failed(place):
    answers = place.answers(place.untrained)
    place.answer(answers)
    place.write(f"results/logs/score/{place.batch('score', answers.folder)}.log", "loragrid: no space left on device\n")
    assert place.cell(place.untrained, "score") == "failed: no space left on device"


def test_several_evaluations_share_a_cell(place):
    study = Path("config/studies/small.yaml")
    study.write_text(study.read_text() + "  again: {seed: 1, scores: [likelihood, rouge]}\n")
    from loragrid.plugins import REGISTRY
    from loragrid.study.open import open_study

    place.grid = open_study("small", REGISTRY)
    first, second = (answers for answers in place.grid.answers.values() if answers.subject == place.first.folder)
    place.finish(place.first)
    place.answer(first)
    place.attempt(second, "failed", why="OSError: disk")
    again = "failed: OSError: disk (the next start tries again)"
    assert place.cell(place.first, "generate") == f"1/2 done, {second.evaluation}: {again}"
    place.answer(second)
    assert place.cell(place.first, "generate") == "done"


# -- the queue


def test_queued_by_a_fake_slurm_with_its_reason(place):
    train = place.batch("train", place.first.folder)
    answers = place.answers(place.untrained)
    generate = place.batch("generate", answers.folder)
    place.queue(
        ("7", "PENDING", "Priority", "1:00:00", f"rule_train_wildcards_{train}"),
        ("8", "PENDING", "Resources", "1:00:00", f"loragrid-generate-{generate} of Snakemake in {place.folder}"),
        ("9", "RUNNING", "None", "1:00:00", "rule_train_wildcards_0123456789"),
    )
    cells = place.cells()
    assert cells[place.first.name]["train"] == "queued (Priority)"
    assert cells["untrained, 16bit"]["generate"] == "queued (Resources)"
    assert cells[place.second.name]["train"] == "waiting"
    assert len((place.bin / "asked").read_text().splitlines()) == 1
    assert "small: 1 waiting, 2 queued" in summary(place)


def test_a_job_of_a_fake_slurm_that_waits_to_go_on(place):
    id_ = place.batch("train", place.first.folder)
    place.attempt(place.first, job="7", host="elsewhere")
    place.steps(place.first, 20)
    place.queue(("7", "PENDING", "BeginTime", "1:00:00", f"rule_train_wildcards_{id_}"))
    assert place.cell(place.first) == "queued (BeginTime), goes on from step 20"
    place.queue(("7", "RUNNING", "None", "1:00:00", f"rule_train_wildcards_{id_}"))
    assert place.cell(place.first).startswith("running")
    place.queue()
    assert place.cell(place.first) == "killed?"


def test_jobs_of_other_folders_do_not_count(place):
    id_ = place.batch("train", place.first.folder)
    place.queue(("7", "PENDING", "Priority", "1:00:00", f"rule_train_wildcards_{id_}"))
    queue = place.bin / "queue"
    queue.write_text(queue.read_text().replace(str(place.folder), "/elsewhere"))
    assert place.cell(place.first) == "waiting"


def test_jobs_of_data_and_scores_in_a_fake_slurm(place):
    """They are known by the names that the two executors give them."""
    answers, (formatted,) = place.answers(place.untrained), place.grid.formatted.values()
    place.answer(answers)
    id_ = place.batch("score", answers.folder)
    model, dataset = formatted.id.split("/")
    submitit = job_name("format", {"model": model, "dataset": dataset})
    place.queue(
        ("7", "PENDING", "Priority", "1:00:00", f"rule_score_wildcards_{id_}"),
        ("8", "RUNNING", "None", "1:00:00", f"{submitit} of Snakemake in {place.folder}"),
    )
    assert place.cell(place.untrained, "score") == "queued (Priority)"
    assert re.search(rf"^format +{formatted.id} +running$", place.loragrid("status", "small"), re.M)
    own = job_name("score", {"batch": id_})
    place.queue(("7", "PENDING", "Priority", "1:00:00", f"{own} of Snakemake in {place.folder}"))
    assert place.cell(place.untrained, "score") == "queued (Priority)"


def test_a_fake_slurm_that_does_not_answer(place):
    place.write(place.bin / "squeue", "#!/bin/sh\nexit 1\n").chmod(0o755)
    assert "Slurm does not answer" in summary(place)
    # Where nothing is left to be done, nobody has to be asked.
    for run in place.grid.runs.values():
        place.finish(run)
    for answers in place.grid.answers.values():
        place.answer(answers)
        place.score(answers)
    assert "Slurm" not in summary(place)


def test_a_stage_that_runs_on_this_machine(place):
    (raw,) = place.grid.raw.values()
    place.write(f"{raw.folder}/file.part", "x" * 3_000_000)
    script = place.write("tools/loragrid", "import time; time.sleep(600)")
    running = subprocess.Popen([sys.executable, script, "download", "--study", "s.json", "--dataset", raw.id])
    try:
        text = place.loragrid("status", "small")
    finally:
        running.kill()
        running.wait()
    assert re.search(rf"^download +{raw.id} +running, 3\.0 MB so far$", text, re.M)


# -- the command


def test_it_writes_nothing(place):
    place.attempt(place.first)
    before = {path: path.stat().st_mtime_ns for path in place.folder.rglob("*")}
    place.loragrid("status", "small")
    assert {path: path.stat().st_mtime_ns for path in place.folder.rglob("*")} == before


def test_nothing_heavy_is_imported(place):
    script = (
        "import sys; from loragrid.cli import main; main(['status', 'small']); main(['failures', 'small'])\n"
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'matplotlib', 'requests', 'huggingface_hub'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=place.environment(), capture_output=True, text=True)
    assert "heavy: []" in done.stdout, done.stderr


def test_a_study_with_mistakes_is_told_as_everywhere(place):
    Path("config/studies/small.yaml").write_text("title: x\nmodel: {}\n")
    for command in ("status", "failures"):
        told = place.loragrid(command, "small", fails=True)
        assert re.search(r"^loragrid: config/studies/small.yaml: \d problems", told)


def test_whether_a_workflow_is_there(place):
    assert "no workflow has this folder locked" in summary(place)
    place.write(".snakemake/locks/0.output.lock")
    assert "locked" not in summary(place)
