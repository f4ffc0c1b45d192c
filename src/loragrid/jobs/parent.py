"""Processes that do not outlive the one that started them."""

import ctypes
import signal
import sys


def die_with_parent() -> None:
    """Let Linux kill this process when its parent dies, so that a killed job leaves nothing that still writes."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
