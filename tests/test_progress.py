import os
import pty
import subprocess
import sys

COUNT = """
from loragrid.progress import each
for number in each(range(3), "counting \\x1b[2J", 3):
    print("number", number)
"""


def test_a_bar_on_a_terminal():
    controller, terminal = pty.openpty()
    counting = subprocess.Popen([sys.executable, "-c", COUNT], stdout=subprocess.PIPE, stderr=terminal,
                                env=os.environ | {"TERM": "xterm", "COLUMNS": "80"})  # fmt: skip
    os.close(terminal)
    printed, _ = counting.communicate(timeout=300)
    drawn = os.read(controller, 1 << 16).decode()
    os.close(controller)
    assert printed == b"number 0\nnumber 1\nnumber 2\n"
    assert r"counting \x1b[2J" in drawn
    assert "3/3" in drawn


def test_no_bar_in_logs():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("number 0\nnumber 1\nnumber 2\n", "")
