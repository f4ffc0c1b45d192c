import json
import os

import pytest

from loragrid.errors import UserError
from loragrid.jobs.publish import publish


@pytest.fixture
def run(tmp_path):
    """A run's folder with a finished training in its work folder."""
    folder = tmp_path / "run"
    for name in ("run.json", "training.jsonl", "adapter/adapter_model.safetensors", "checkpoints/step-1/state.json"):
        file = folder / "work" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder


OUTPUTS = ("run.json", "training.jsonl", "adapter/adapter_model.safetensors")


def outputs(folder):
    return [folder / name for name in OUTPUTS]


def fail(folder, **changes):
    failure = {"reason": "the rate is too high", "stage": "train", "log": "attempt-1.log", "blocked_by": None} | changes
    (folder / "work" / "failed.json").write_text(json.dumps(failure))


def test_what_is_finished_is_linked(run):
    publish(run, outputs(run))
    for name in OUTPUTS:
        assert (run / name).read_text() == name
        assert (run / name).samefile(run / "work" / name)
    assert not (run / "work" / "checkpoints").exists()
    publish(run, outputs(run))
    assert not list(run.rglob(".*"))


def test_what_the_workflow_does_not_know_comes_with_the_adapter(run):
    card = run / "work" / "adapter" / "README.md"
    card.write_text("a card")
    (run / "work" / "attempts.jsonl").write_text("{}")
    (run / "work" / "usage.jsonl").write_text("{}")
    publish(run, outputs(run))
    assert (run / "usage.jsonl").exists()
    assert (run / "adapter" / "README.md").samefile(card)
    assert not (run / "attempts.jsonl").exists()


def test_checkpoints_that_a_link_leads_to_stay(run, tmp_path):
    checkpoints = run / "work" / "checkpoints"
    checkpoints.rename(tmp_path / "elsewhere")
    checkpoints.symlink_to(tmp_path / "elsewhere")
    publish(run, outputs(run))
    assert not checkpoints.is_symlink()
    assert (tmp_path / "elsewhere/step-1/state.json").exists()


def test_files_are_copied_where_there_are_no_hard_links(run, monkeypatch):
    def refuse(*_):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    publish(run, outputs(run))
    assert (run / "run.json").read_text() == "run.json"
    assert not (run / "run.json").samefile(run / "work" / "run.json")


def test_answers_and_scores_lie_directly_in_the_work_folder(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "likelihood-0123456789.json").write_text("{}")
    publish(tmp_path, [tmp_path / "scores" / "likelihood-0123456789.json"])
    assert (tmp_path / "scores" / "likelihood-0123456789.json").read_text() == "{}"


def test_a_failure_is_told_with_its_reason_and_log(run):
    fail(run)
    (run / "work" / "run.json").unlink()
    with pytest.raises(UserError) as raised:
        publish(run, outputs(run))
    for part in (str(run), "train failed: the rate is too high", "attempt-1.log", "delete", "failed.json"):
        assert part in str(raised.value)
    assert not (run / "run.json").exists()


def test_a_file_that_cannot_be_made_does_not_hold_up_the_others(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "generations.jsonl").write_text("{}")
    record = {"reason": "no reference has text", "stage": "generate", "log": "attempt-1.log", "blocked_by": None}
    (work / "likelihood-0123456789.failed.json").write_text(json.dumps(record))
    publish(tmp_path, [tmp_path / "generations.jsonl"])
    assert (tmp_path / "generations.jsonl").exists()
    with pytest.raises(UserError, match=r"generate failed: no reference has text[^$]*delete .*0123456789.failed.json"):
        publish(tmp_path, [tmp_path / "scores/likelihood-0123456789.json"])


def test_a_failure_whose_cause_is_gone_counts_no_more(run, tmp_path):
    fail(run, blocked_by=str(tmp_path / "gone.json"))
    publish(run, outputs(run))
    assert (run / "run.json").exists()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], "never tried"),
        ([{"attempt": 1, "started": 1, "log": "a.log"}], "its last attempt: killed, or still running, log a.log"),
        (
            [{"attempt": 1, "started": 1, "log": "a.log"}, {"attempt": 1, "ended": "out of memory", "why": "2 GiB"}],
            "its last attempt: out of memory: 2 GiB, log a.log",
        ),
    ],
)
def test_nothing_is_published_of_what_is_not_finished(run, lines, expected):
    (run / "work" / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "work" / "run.json").unlink()
    with pytest.raises(UserError) as error:
        publish(run, outputs(run))
    assert expected in str(error.value)
    assert str(run / "run.json") in str(error.value)
    assert [file.name for file in run.iterdir()] == ["work"]


def test_run_json_comes_last(run, monkeypatch):
    link = os.link

    def break_off(source, target):
        if "training" in str(target):
            raise KeyboardInterrupt
        link(source, target)

    monkeypatch.setattr(os, "link", break_off)
    with pytest.raises(KeyboardInterrupt):
        publish(run, outputs(run))
    assert not (run / "run.json").exists()
    assert (run / "work" / "checkpoints").exists()


def test_the_advice_names_the_failure_that_stands_in_the_way(tmp_path):
    cause = tmp_path / "run" / "work" / "failed.json"
    work = tmp_path / "answers" / "work"
    for folder in (cause.parent, work):
        folder.mkdir(parents=True)
    cause.write_text("{}")
    failure = {"reason": "its training failed", "stage": "generate", "log": "a.log", "blocked_by": str(cause)}
    (work / "failed.json").write_text(json.dumps(failure))
    with pytest.raises(UserError, match=f"delete {cause}"):
        publish(tmp_path / "answers", [tmp_path / "answers" / "generations.jsonl"])
