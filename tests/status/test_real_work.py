"""What a real training writes is understood, in a terminal of somebody who starts it by hand."""

import os
import pty
import subprocess
import sys

from nano import nano, nano_root, train_member, write_batch  # noqa: F401

from loragrid.jobs.attempts import read_attempts
from loragrid.status.activity import ActiveJob
from loragrid.status.progress import progress


def test_a_training_started_by_hand_in_a_terminal(nano, tmp_path):  # noqa: F811
    batch = write_batch(tmp_path / "batch.json", train_member(tmp_path / "run", epochs=30))
    controller, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "loragrid", "train", str(batch)], stdin=subprocess.DEVNULL,
                               stdout=terminal, stderr=terminal)  # fmt: skip
    os.close(terminal)
    said = b""
    while True:
        try:
            said += os.read(controller, 4096)
        except OSError:  # the other end is closed
            break
    os.close(controller)
    assert process.wait() == 0, said.decode()
    assert b"\x1b[Krun: running" in said
    (attempt,) = read_attempts(tmp_path / "run/work")
    told = progress(tmp_path / "run/work", attempt, ActiveJob())
    assert told.startswith("running 120/120, loss ")
    assert told.endswith(", 0 s left")
    assert "running" not in (tmp_path / "run/work/attempt-1.log").read_text()
