"""What the next attempt at a stage asks for, by how those before it ended."""

import json

import pytest

from loragrid.estimates.growth import grown_minutes, memory_factor


@pytest.fixture
def after(tmp_path):
    """The folder of a target whose attempts ended so."""

    def after(*ends):
        records = [{"attempt": number, "started": 1.0, "ended": end} for number, end in enumerate(ends, 1)]
        (tmp_path / "attempts.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return tmp_path

    return after


TIME, MEMORY = "out of time", "out of host memory"


@pytest.mark.parametrize(("ends", "minutes", "memory"), [
    ((), 60, 1), ((TIME,), 120, 1), ((TIME, TIME), 240, 1), ((MEMORY,), 60, 1.5), ((TIME, MEMORY), 120, 1.5),
    (("terminated", "killed"), 60, 1),
    ((TIME, "finished"), 60, 1), ((MEMORY, "failed", TIME), 120, 1),  # as if there were none before
    ((TIME,) * 8, 480, 1), ((MEMORY,) * 8, 60, 1.5**3),  # not for ever
])  # fmt: skip
def test_requests_grow_for_what_was_wanting(after, ends, minutes, memory):
    place = after(*ends)
    assert grown_minutes(60, place) == minutes
    assert memory_factor(place) == memory


def test_no_longer_than_the_longest_job(after):
    assert grown_minutes(60, after(TIME, TIME), longest=90) == 90
