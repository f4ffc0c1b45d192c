"""Work that several processes share. What they do here is the standard library's, which is there in each."""

import itertools
import math
import signal
import subprocess
import sys
import time

import psutil
import pytest

from loragrid.errors import UserError, WorkerKilled
from loragrid.files import read_json
from loragrid.jobs.workers import WORTH, Workers

MANY = 3 * WORTH


def processes():
    return [process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline())]


@pytest.mark.parametrize("number", [1, 2])
def test_results_are_in_the_order_of_the_pieces(number):
    with Workers(number, math.factorial) as workers:
        assert list(workers.map(range(MANY))) == [math.factorial(piece) for piece in range(MANY)]
        assert len(processes()) == (number if number > 1 else 0)
        assert list(workers.map(range(MANY, 0, -1)))[-1] == 1
    assert processes() == []


def test_for_little_work_no_process_is_started():
    with Workers(2, math.factorial) as workers:
        assert list(workers.map(range(WORTH - 1)))[-1] == math.factorial(WORTH - 2)
        assert processes() == []


def test_pieces_are_taken_as_they_are_needed():
    endless = itertools.count()
    with Workers(2, math.factorial) as workers:
        results = workers.map(endless)
        assert list(itertools.islice(results, 20))[-1] == math.factorial(19)
        assert next(endless) <= 20 + WORTH


@pytest.mark.parametrize("number", [1, 2])
def test_the_first_error_is_told_as_in_one_process(tmp_path, number):
    (tmp_path / "good.json").write_text("1")
    pieces = [tmp_path / "good.json"] * WORTH + [tmp_path / "bad.json", tmp_path / "worse.json"]
    with Workers(number, read_json) as workers, pytest.raises(UserError, match=r"/bad\.json: no such file") as error:
        list(workers.map(pieces))
    assert type(error.value) is UserError


def test_a_killed_process_is_told():
    with Workers(2, signal.raise_signal) as workers, pytest.raises(WorkerKilled, match="memory"):
        list(workers.map([signal.SIGKILL] * MANY))


def test_after_an_error_nobody_waits_for_what_is_under_way():
    def interrupted():
        with Workers(2, time.sleep) as workers:
            for _ in workers.map([0, *[600] * MANY]):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert processes() == []


ASLEEP = f"""
import time
from loragrid.jobs.workers import Workers

if __name__ == "__main__":
    with Workers(2, time.sleep) as workers:
        list(workers.map([0] * {MANY} + [600] * {MANY}))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(tmp_path, how):
    script = tmp_path / "asleep.py"
    script.write_text(ASLEEP)
    first = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    started: list[psutil.Process] = []
    while len(started) < 3:  # with the one in which the library keeps its books
        assert first.poll() is None
        assert time.monotonic() < deadline
        started = psutil.Process(first.pid).children(recursive=True)
        time.sleep(0.05)
    first.send_signal(how)
    first.wait(60)
    _, alive = psutil.wait_procs(started, 60)
    assert alive == []
