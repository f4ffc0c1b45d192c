"""Curves for TensorBoard: beside the run, without changing it, and without a gap or a repeat when it is resumed."""

import os
import signal

import pytest
from nano import adapter, batch_of, records, train, train_member
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from loragrid.errors import UserError
from loragrid.training import reports
from loragrid.training.records import Records
from loragrid.training.train import train_batch

SHORT = {"epochs": 1, "evaluations": 2}


def curves(work):
    events = EventAccumulator(str(work / "reports" / "tensorboard"))
    events.Reload()
    return {name: {event.step: event.value for event in events.Scalars(name)} for name in events.Tags()["scalars"]}


def test_a_resumed_run_is_one_curve_and_the_same_adapter(nano, tmp_path, monkeypatch):
    add = Records.add

    def killed(self, step, **values):
        add(self, step, **values)
        if step == 3 and "loss" in values:
            os.kill(os.getpid(), signal.SIGTERM)

    member = train_member(tmp_path / "run", **SHORT)
    before = dict(os.environ)
    with monkeypatch.context() as patch:
        patch.setattr(Records, "add", killed)
        assert not train_batch(batch_of(member), 60.0, ["tensorboard"])
    assert train_batch(batch_of(member), 60.0, ["tensorboard"])
    assert dict(os.environ) == before
    work = tmp_path / "run" / "work"
    drawn = curves(work)
    losses = {line["step"]: line["loss"] for line in records(work) if "loss" in line}
    assert drawn["train/loss"] == pytest.approx(losses, rel=1e-5)
    validated = {line["step"]: line["validation_loss"] for line in records(work) if "validation_loss" in line}
    assert drawn["eval/loss"] == pytest.approx(validated, rel=1e-5)
    assert drawn["train/learning_rate"].keys() == losses.keys()
    assert adapter(work) == adapter(train(tmp_path / "other", **SHORT))


def test_what_is_not_installed_is_told_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(reports.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"report_to: mlflow is not installed .* `pip install mlflow`"):
        train_batch(batch_of(), 60.0, ["mlflow"])
