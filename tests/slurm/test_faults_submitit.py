"""How jobs that have to end go on with cluster/submitit, and what a new start finds: real trainings on a real Slurm.

What does not depend on that is tested with both profiles in test_faults.py.
"""

import os
import signal

import pytest
from head import jobs, node_of, take_node, wait_until
from interrupted import LIMIT, PACE, beyond_limit


@pytest.fixture
def head(prepared, start, tmp_path):
    """The workflow in a workspace of its own, not started yet."""
    ready, _, options = prepared
    return start(ready.copy_to(tmp_path / "workspace"), profile="cluster/submitit", options=options)


def slow_down(head, seconds):
    """Let each micro-batch take so long."""
    (head.workspace.folder / "src/sitecustomize.py").write_text(PACE.replace("0.12", str(seconds)))


def test_preemption_and_time_limit(head, equal_to_whole):
    # Slurm looks at limits every half a minute, and tells in time: 75 to 105 seconds after a job has begun.
    beyond_limit(head)
    head.edit_profile(default_resources={"runtime": LIMIT}, **{"submitit-signal-seconds": 15})
    head.start()
    take_node(node_of(head.train_until(10)["job"]))
    finishes_in_the_same_job(head)
    assert len(head.ends()) > 2, head.all_said()
    equal_to_whole(head.run)


@pytest.mark.parametrize("prepared", [2], indirect=True, ids=["two processes"])
def test_preemption_in_a_partition_that_cancels(head, equal_to_whole):
    head.edit_profile(default_resources={"slurm_partition": "cancelling"})
    head.start()
    take_node(node_of(head.train_until(10)["job"]))
    finishes_in_the_same_job(head)
    equal_to_whole(head.run)


def finishes_in_the_same_job(head):
    """Wait for the end; for Snakemake, no attempt has failed."""
    assert head.finish() == 0, head.all_said()
    # Told to save, it went on in the same job (or was killed, if it did not listen yet).
    assert head.ends()[0] == "terminated", head.all_said()
    assert head.ends()[-1] == "finished", head.all_said()
    assert len({attempt["job"] for attempt in head.attempts()}) == 1
    assert "Trying to restart" not in head.output.read_text()
    assert not list(head.workspace.folder.glob(".snakemake/submitit/*/*.pkl"))


@pytest.mark.parametrize("prepared", [2], indirect=True, ids=["two processes"])
def test_ctrl_c_and_a_killed_head(head, equal_to_whole):
    folder = head.workspace.folder
    slow_down(head, 0.24)  # each has half of the micro-batches
    head.start()
    head.train_until(20)
    head.process.send_signal(signal.SIGINT)
    wait_until(lambda: not jobs(folder), what=head.all_said)
    assert head.finish() != 0
    assert head.ends() == ["terminated"], head.all_said()
    # The next start goes on, is killed, and the one after it finds the job that still runs.
    head.start()
    second = head.train_until(30)
    kill_head(head)
    head.start()
    wait_until(lambda: "it is not submitted again" in head.output.read_text(), what=head.all_said)
    assert head.train_until(80) == second
    # It is killed, too, and the job ends before the next start: that has nothing left to submit.
    kill_head(head)
    wait_until(lambda: not jobs(folder), what=head.all_said)
    head.start()
    assert head.finish() == 0, head.all_said()
    assert head.ends() == ["terminated", "finished"], head.all_said()
    equal_to_whole(head.run)


def kill_head(head):
    """Kill Snakemake, and make its folder usable again as it then tells its user to."""
    os.killpg(head.process.pid, signal.SIGKILL)
    head.process.wait()
    head.workspace.snakemake("--unlock", study=head.study)
