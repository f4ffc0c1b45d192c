"""Pieces of work divided among processes, with the results in the order of the pieces.

So what is made of them does not depend on the number of processes, and only a few pieces are in memory at a time.
"""

import collections
import contextlib
import itertools
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from loragrid.errors import WorkerKilled
from loragrid.jobs.parent import die_with_parent

Piece = TypeVar("Piece")
Result = TypeVar("Result")

WORTH = 8
"""Pieces below which all are worked on in this process: another one needs seconds before it begins."""

AHEAD = 2
"""Pieces for each process that are read, worked on or done before their turn."""


SAME_SIGNAL = 1.0
"""Seconds after the end of a process in which the signal that ended it, sent to a whole job, may come to this one."""


class Workers(contextlib.AbstractContextManager["Workers[Piece, Result]"], Generic[Piece, Result]):
    """Processes that all do the same, started when there is enough to do. They end with this object's block.

    Args:
        number: of processes; with 1 all is done in this one.
        work: what they do with a piece: sent to them once, so it has to be possible to pickle it.
    """

    def __init__(self, number: int, work: Callable[[Piece], Result]):
        self._number = number
        self._work = work
        self._pool: ProcessPoolExecutor | None = None
        self._others: set[BaseProcess] = set()

    def map(self, pieces: Iterable[Piece]) -> Iterator[Result]:
        """Work on pieces.

        Args:
            pieces: are taken one by one, as they are needed.

        Yields:
            The result of each, in their order.

        Raises:
            UserError: what the work raises, of the first piece where it does.
            WorkerKilled: a process is gone that worked for this one.
        """
        pieces = iter(pieces)
        first = list(itertools.islice(pieces, WORTH)) if self._number > 1 else []
        if len(first) < WORTH:
            yield from map(self._work, itertools.chain(first, pieces))
            return
        pending: collections.deque[Future[Result]] = collections.deque()
        try:
            for piece in itertools.chain(first, pieces):
                pending.append(self._started().submit(_do, piece))
                if len(pending) > AHEAD * self._number:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            time.sleep(SAME_SIGNAL)
            raise WorkerKilled(
                f"one of {self._number} processes was killed, perhaps because memory is short; give the job more "
                "memory, or start it with one worker"
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the processes: at once, if the block ends with an error."""
        if self._pool:
            if kind is not None:
                for process in set(multiprocessing.active_children()) - self._others:
                    process.kill()
            self._pool.shutdown(cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not forked: threads of libraries may hold locks at this moment, which nobody would ever open in the copy.
            context = multiprocessing.get_context("spawn")
            arguments = (os.getpid(), pickle.dumps(self._work))
            self._pool = ProcessPoolExecutor(self._number, context, _begin, arguments)
            self._others = set(multiprocessing.active_children())
        return self._pool


_pickled: bytes
_work: Callable[[Any], Any] | None = None


def _begin(parent: int, pickled: bytes) -> None:
    """Prepare a process, before anything that takes long to import."""
    global _pickled
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # it was gone before this one could know
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to all; the first process ends the others
    _pickled = pickled


def _do(piece: Any) -> Any:
    global _work
    if _work is None:
        _work = pickle.loads(_pickled)  # noqa: S301 - by the process that started this one
    return _work(piece)
