"""The lines of the workflow's log."""

import io
import logging
import time

from snakemake.logging import DefaultFormatter, LogEvent

from loragrid.jobs.workflow_log import shorten


def test_a_line_tells_when_it_happened_whenever_it_is_written():
    logger, streams = logging.Logger("workflow"), [io.StringIO(), io.StringIO()]
    for stream in streams:
        handler = logging.StreamHandler(stream)
        handler.setFormatter(DefaultFormatter(set(), False))
        logger.addHandler(handler)
    shorten(logger)
    record = logger.makeRecord("workflow", logging.INFO, "", 0, "", (), None, extra={
        "event": LogEvent.PROGRESS, "done": 1, "total": 2,
    })  # fmt: skip
    record.created = 0.0
    logger.handle(record)
    first, second = (stream.getvalue() for stream in streams)
    assert first == second == f"[{time.asctime(time.localtime(0))}] 1 of 2 steps (50%) done\n"
