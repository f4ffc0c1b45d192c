import pytest

from snakemake_executor_plugin_submitit.status import PREEMPTED, SUCCESS, Judge, State


def looks(*seen, status=None):
    """What a judge says at each look, given Slurm's states (None: unknown; "": no answer)."""
    judge = Judge()
    return [judge.problem("1", status, None if state == "" else {"1": State(state)} if state else {}) for state in seen]


def test_result_counts_whatever_slurm_says():
    assert looks("RUNNING", status=0) == [SUCCESS]
    assert looks("", status=0) == [SUCCESS]
    assert looks("RUNNING", status=1) == ["The job's command ended with status 1."]
    assert looks("OUT_OF_MEMORY", status=137) == ["The job's command ended with status 137; Slurm says OUT_OF_MEMORY."]


@pytest.mark.parametrize("state", ["CANCELLED", "OUT_OF_MEMORY", "TIMEOUT", "FAILED"])
def test_killed_without_a_result(state):
    assert looks("RUNNING", state, state) == [None, None, f"The job ended without a result: {state}."]


def test_preempted_job_may_come_back():
    assert looks("PREEMPTED", "PREEMPTED", "PENDING", "PREEMPTED", "RUNNING") == [None] * 5
    assert looks(*["PREEMPTED"] * 4)[-1] == PREEMPTED
    assert looks(*["NODE_FAIL"] * 4)[-1] == "The job ended without a result: NODE_FAIL."


def test_unknown_job_is_not_given_up_at_once():
    assert looks(None, None, None, None) == [
        None, None, None, "The job ended without a result: Slurm does not know it any more.",
    ]  # fmt: skip


def test_no_answer_tells_nothing():
    assert looks(*[""] * 10) == [None] * 10


def test_result_that_is_seen_late():
    assert looks("COMPLETED", "COMPLETED") == [None, SUCCESS]
