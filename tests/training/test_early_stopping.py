"""A training with patience ends at the same step with the same adapter, however often it is interrupted."""

import json
import os
import signal

import pytest
from nano import MODEL, adapter, batch_of, direct_loss, records, rows, train, train_member

from loragrid.modeling.load import attach_adapter, load_base
from loragrid.training.records import Records
from loragrid.training.state import RunState
from loragrid.training.train import train_batch

# So high a rate that the validation loss soon rises.
RISING = {
    "learning_rate": 0.3,
    "schedule": "constant",
    "warmup": 0.5,
    "evaluations": 12,
    "keep": "best",
    "dropout": 0.1,
}
PATIENT = RISING | {"patience": 2}


class Killed(BaseException):
    """What no `except Exception` catches: the process is gone."""


@pytest.fixture(scope="module")
def stopped(nano_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(nano_root)
        yield train(tmp_path_factory.mktemp("stopped") / "run", **PATIENT)


def run_json(work):
    return json.loads((work / "run.json").read_text())


def assert_equal(work, whole):
    assert adapter(work) == adapter(whole)
    assert records(work) == records(whole)
    one, other = run_json(work), run_json(whole)
    for name in ("steps", "planned_steps", "stopped_early", "loss"):
        assert one[name] == other[name]
    assert one["cost"]["tokens"] == other["cost"]["tokens"]


def test_it_ends_after_so_many_validations_without_a_lower_loss(nano, stopped):
    run = run_json(stopped)
    losses = {line["step"]: line["validation_loss"] for line in records(stopped) if "validation_loss" in line}
    best = min(losses, key=losses.__getitem__)
    assert run["stopped_early"] is True
    assert run["steps"] == max(losses) == best + 2 < run["planned_steps"] == 12
    assert [line["step"] for line in records(stopped) if "loss" in line] == list(range(1, run["steps"] + 1))
    assert run["cost"]["tokens"] == sum(line.get("tokens", 0) for line in records(stopped))
    model = attach_adapter(load_base(MODEL, "nf4"), stopped / "adapter")
    assert direct_loss(model, rows("validation")) == pytest.approx(losses[best], rel=1e-4)


def test_until_then_it_is_the_training_without_patience(nano, stopped, tmp_path):
    whole = train(tmp_path / "run", **RISING)
    assert records(whole)[: len(records(stopped))] == records(stopped)
    run = run_json(whole)
    assert (run["stopped_early"], run["steps"], run["planned_steps"]) == (False, 12, 12)


@pytest.mark.parametrize("before", [2, 1, 0])
def test_told_to_end_at_or_before_the_step_at_which_it_ends_anyway(nano, stopped, tmp_path, monkeypatch, before):
    at, add = run_json(stopped)["steps"] - before, Records.add

    def told(self, step, **values):
        add(self, step, **values)
        if step == at and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)

    member = train_member(tmp_path / "run", **PATIENT)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "add", told)
        assert not train_batch(batch_of(member), 60.0)
    assert train_batch(batch_of(member), 60.0)
    assert_equal(tmp_path / "run" / "work", stopped)


def test_killed_after_its_last_checkpoint(nano, stopped, tmp_path, monkeypatch):
    def killed(self):
        raise Killed

    member = train_member(tmp_path / "run", **PATIENT)
    with monkeypatch.context() as patch:
        patch.setattr(RunState, "use_best", killed)
        with pytest.raises(Killed):
            train_batch(batch_of(member), 0.0)
    work = tmp_path / "run" / "work"
    last = max(folder.name for folder in (work / "checkpoints").iterdir())
    assert last == f"step-{run_json(stopped)['steps']:08d}"
    assert train_batch(batch_of(member), 0.0)
    assert_equal(work, stopped)
