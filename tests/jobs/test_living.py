"""Which batches somebody works on: so that a new start leaves them as they are."""

import json
import os
from pathlib import Path

import pytest

from loragrid.jobs.living import living_batches
from loragrid.study.planning import plan
from loragrid.study.shape import Shape


@pytest.fixture
def batch(place):
    """A batch of two runs, recorded by an earlier start."""
    made = plan(place.small("grid: {rank: [4, 8]}"), Shape(lambda _: 1.0, 30, 0, 1))
    (batch,) = made.train.values()
    made.record({("train", batch.id)}, {})
    return batch


def found():
    return {stage: ids for stage, ids in living_batches().items() if ids}


def queue(fake, comment, folder=None, state="PENDING"):
    fake("squeue", f"7|{state}|Priority|2:00:00|{folder or Path.cwd()}|{comment}\n")


def test_nobody_is_asked_where_nothing_is_recorded(place, fake):
    fake("squeue", "")
    assert found() == {}
    assert not list(Path.cwd().rglob("asked"))


@pytest.mark.parametrize("comment", ["rule_train_wildcards_{}", "loragrid-train-{} of Snakemake in {}"])
def test_a_job_in_a_fake_queue_by_either_executor(batch, fake, comment):
    queue(fake, comment.format(batch.id, Path.cwd()))
    assert found() == {"train": {batch.id}}
    Path(batch.done).touch()
    assert found() == {}


def test_a_job_of_another_folder_is_another(batch, fake):
    queue(fake, f"rule_train_wildcards_{batch.id}", folder="/elsewhere")
    assert found() == {}


def test_a_folder_behind_a_link_is_the_same(batch, fake, tmp_path_factory):
    link = tmp_path_factory.mktemp("home") / "link"
    link.symlink_to(Path.cwd())
    queue(fake, f"rule_train_wildcards_{batch.id}", folder=str(link))
    assert found() == {"train": {batch.id}}


def test_a_fake_queue_that_does_not_answer_may_have_all_that_could_be_submitted(batch, fake):
    fake("squeue", "", status=1)
    assert found() == {}  # its data is not there yet
    for file in batch.needs:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    assert found() == {"train": {batch.id}}


def test_a_job_on_this_machine_that_has_only_just_been_submitted(batch, fake):
    fake("squeue", "")
    record = Path(".snakemake/submitit/abc/job.json")
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"pid": os.getpid(), "outputs": [batch.done]}))
    assert found() == {"train": {batch.id}}
    record.write_text(json.dumps({"pid": 2**22 + 1, "outputs": [batch.done]}))
    assert found() == {}
    record.write_text("{")
    assert found() == {}
