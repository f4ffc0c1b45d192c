"""No more requests and tokens a minute than are allowed, by however many threads."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Lets requests pass at even distances, rather than many at once and none for the rest of a minute.

    Args:
        requests_per_minute: that may pass; None for any number.
        tokens_per_minute: that all requests together may take; None for any number.
        clock: seconds.
        sleep: waits so many of them.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._seconds_a_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._seconds_a_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = clock()

    def wait(self, tokens: int) -> None:
        """Wait until a request may be made.

        Args:
            tokens: that it is expected to take, prompt and reply.
        """
        with self._lock:
            start = max(self._clock(), self._next)
            self._next = start + max(self._seconds_a_request, tokens * self._seconds_a_token)
        while (seconds := start - self._clock()) > 0:
            self._sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Let nobody pass for some time: the server wants it."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)
