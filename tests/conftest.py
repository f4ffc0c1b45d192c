"""Tests send Ctrl-C to processes, which would ignore it where all of this was started in a background that does."""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
