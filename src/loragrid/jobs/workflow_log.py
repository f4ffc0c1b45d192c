"""The log of the workflow as people read it: a line where a job begins, and a line where it ends.

Snakemake prints, for each job, six lines of its own and the lists of its files, which for tables are all scores of the
study. Failures and everything else stay as Snakemake tells them.
"""

import logging
import time
from typing import Any

from snakemake.logging import DefaultFormatter, LogEvent, get_event

CHATTER = (
    "Select jobs to execute",
    "Touching output file",
    "Cannot restore ",
    "Warning: the following output files of rule publish_",
)
"""Beginnings of what Snakemake says of each job without an event of its own: the third of an `update` output whose job
failed before there was any, the last of what a job has published itself, which is there before its rule."""


def shorten(logger: logging.Logger) -> None:
    """Say what happens in a line or two a job, on the terminal and in Snakemake's own log file.

    Args:
        logger: Snakemake's.
    """
    for handler in logger.handlers:
        # Handlers of logger plugins have formatters of their own.
        if type(handler.formatter) is DefaultFormatter:
            lines = JobLines(handler.formatter)
            handler.setFormatter(lines)
            handler.addFilter(lines)


class JobLines(DefaultFormatter):
    """Formats the beginning and the end of a job by its rule's `message`; also a filter of what says nothing more.

    Args:
        like: the formatter whose place it takes.
    """

    def __init__(self, like: DefaultFormatter):
        super().__init__(like.quiet, like.show_failed_logs)
        self._messages: dict[int, str] = {}
        self._finished: list[int] = []
        self._moment = ""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        # When it happened: the terminal's and the file's lines must be the same also where a second ends in between.
        self._moment = f"[{time.asctime(time.localtime(record.created))}]"
        return super().format(record)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be shown."""
        event = get_event(record)
        if event == LogEvent.JOB_FINISHED:
            # How many are done comes right after it, and tells of this one as well.
            self._finished.append(getattr(record, "job_id"))  # noqa: B009 – not an attribute, to mypy
            return False
        return event != LogEvent.JOB_STARTED and not str(record.msg).startswith(CHATTER)

    def format_job_info(self, msg: dict[str, Any]) -> str:
        """A job begins."""
        if not msg["rule_msg"]:
            return super().format_job_info(msg)
        self._messages[msg["jobid"]] = msg["rule_msg"]
        return f"{self._moment} job {msg['jobid']}: {msg['rule_msg']}"

    def format_job_error(self, msg: dict[str, Any]) -> str:
        """A job failed, of which Snakemake names only the rule where the executor has nothing to say."""
        return super().format_job_error({**msg, "rule_msg": msg["rule_msg"] or self._messages.get(msg["jobid"])})

    def format_progress(self, msg: dict[str, Any]) -> str:
        """A job is done."""
        done = [f"job {id_}: {self._messages.get(id_, '')}".removesuffix(": ") for id_ in self._finished]
        self._finished.clear()
        return f"{self._moment} {super().format_progress(msg)}: {', '.join(done)}".removesuffix(": ")
