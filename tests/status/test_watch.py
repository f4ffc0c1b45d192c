"""`loragrid status --watch`, as a real process that is ended by Ctrl-C."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time

import pytest


def read_until(descriptor: int, text: str, seconds: float = 30) -> str:
    said, deadline = "", time.monotonic() + seconds
    while text not in said:
        assert time.monotonic() < deadline, said
        said += os.read(descriptor, 4096).decode()
    return said


def test_tables_with_their_times_where_there_is_no_terminal(place):
    watching = subprocess.Popen(place.command("status", "small", "--watch", "1"), env=place.environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    said = read_until(watching.stdout.fileno(), "3 waiting")
    place.finish(place.first)
    place.score(place.answers(place.first))
    place.answer(place.answers(place.first))
    said += read_until(watching.stdout.fileno(), "1 done, 2 waiting")
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=120)
    assert (watching.returncode, errors) == (0, b"")
    assert "\x1b" not in said
    assert len(re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", said, re.M)) >= 2


def test_drawn_in_place_on_a_terminal_with_as_many_rows_as_it_has(place):
    place.data()
    place.fail(place.second, "train", "the training loss is nan at step 3: " + "a lower learning rate " * 9)
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 8, 80, 0, 0))
    watching = subprocess.Popen(
        place.command("status", "small", "--watch", "1"), env=place.environment() | {"TERM": "xterm"},
        stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    first = read_until(controller, "loragrid failures small")
    second = read_until(controller, "loragrid failures small")
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=120) == 0
    os.close(controller)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", first).splitlines()
    assert all(len(line) <= 80 for line in plain)
    (row,) = (line for line in plain if place.second.name in line)
    assert "failed: the training" in row
    assert "…" in row
    assert "… and 2 more: 2 waiting" in "\n".join(plain)
    assert "\x1b[1A" in second, "the cursor goes up to draw in place"


@pytest.mark.parametrize("seconds", ["0", "-3", "often"])
def test_intervals_that_make_no_sense(place, seconds):
    assert "--watch" in place.loragrid("status", "small", "--watch", seconds, fails=True)


def test_a_fake_slurm_is_not_asked_more_than_every_ten_seconds(place):
    place.queue()
    watching = subprocess.Popen(place.command("status", "small", "--watch", "1"), env=place.environment(),
                                stdout=subprocess.PIPE)  # fmt: skip
    read_until(watching.stdout.fileno(), "3 waiting")
    time.sleep(3)
    watching.send_signal(signal.SIGINT)
    assert watching.wait(timeout=120) == 0
    assert len((place.bin / "asked").read_text().splitlines()) == 1
