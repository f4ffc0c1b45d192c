import pytest

from loragrid.jobs.stop import ENDING, Interrupted, Stop


def clock(*seconds_left):
    """A scheduler that answers these, one after the other."""
    answers = iter(seconds_left)
    return lambda: next(answers)


def test_without_a_limit_there_is_always_time():
    stop = Stop()
    assert not stop.unless_time_for(1e9)
    stop.check("anywhere")


def test_the_clock_stops_ahead_of_the_limit():
    stop = Stop(clock(100, 100))
    assert not stop.unless_time_for(100 - ENDING - 5)
    assert stop.unless_time_for(100 - ENDING + 5)
    with pytest.raises(Interrupted, match="out of time at step 3") as raised:
        stop.check("at step 3", progress=False)
    assert (raised.value.by_clock, raised.value.progress) == (True, False)


def test_a_limit_that_was_raised_meanwhile_counts():
    stop = Stop(clock(20, 7200))
    assert not stop.unless_time_for(60)


def test_a_signal_is_no_matter_of_the_clock():
    stop = Stop(clock(100))
    stop.signalled = True
    with pytest.raises(Interrupted, match="told to end") as raised:
        stop.check("at step 3")
    assert not raised.value.by_clock
