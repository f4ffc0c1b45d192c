"""For all tests: Ctrl-C, and their order.

Tests send Ctrl-C to processes, which would ignore it where all of this was started in a background that does.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = "test_studies.py"
"""Whole studies, of minutes each."""


def pytest_collection_modifyitems(items):
    """Begin with the longest, so that no worker waits for the last test of another one."""
    items.sort(key=lambda item: item.path.name != LONGEST)
