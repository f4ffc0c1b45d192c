"""Runs a program that ends, with all that it has started, when the process that started this one is gone.

    python guard.py PROGRAM ARGUMENT ...

Started with a pipe as its standard input, which nobody writes to: it closes when the one at its other end closes it, or
dies in whatever way. A program of several processes cannot be trusted to end as a whole when one of them is killed.
This file needs nothing but the standard library, so that it runs where the rest is not found.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

PATIENCE = 10.0
"""Seconds from SIGTERM to SIGKILL."""


def main() -> int:
    """Run the program; its exit status, or 128 and the signal that killed it."""
    # Whoever ends a job signals all of its processes. This one ends after the program; a handler, unlike an ignored
    # signal, is not inherited by it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_after_parent, args=(program,), daemon=True).start()
    status = program.wait()
    _signal(program, signal.SIGKILL)  # what it has left
    return status if status >= 0 else 128 - status


def _end_after_parent(program: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 1):
        pass
    _signal(program, signal.SIGTERM)
    time.sleep(PATIENCE)
    _signal(program, signal.SIGKILL)


def _signal(program: "subprocess.Popen[bytes]", number: int) -> None:
    """Signal the program and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, number)


if __name__ == "__main__":
    sys.exit(main())
