"""Why a job is told to end: its time is up, or another job wants its place."""

import pytest

from loragrid.jobs.requeue import SIGNAL_SECONDS, is_at_limit
from loragrid.jobs.slurm import Job


@pytest.mark.parametrize(("left", "told", "at_limit"), [
    (50, "0", True), (65, "0", True), (90, "0", False), (120, "60", True), (140, "60", False), (None, "60", False),
])  # fmt: skip
def test_slurm_may_tell_a_minute_early(left, told, at_limit, monkeypatch):
    monkeypatch.setenv(SIGNAL_SECONDS, told)
    assert is_at_limit(Job("7", "RUNNING", "None", "", "", left)) is at_limit
