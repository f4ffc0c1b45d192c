"""Stages without checkpoints (clean, format, prompts, build, score) in jobs of a cluster: told to end, they begin anew.

A job that has to make room for another one goes back into the queue, and uses up none of Snakemake's attempts. One that
came to its time limit would come there again: it fails, and the next attempt asks for more time. How each attempt ended
is recorded beside the stage's log, in `results/logs/<rule>/<id>/attempts.jsonl`.
"""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from loragrid.errors import UserError, WorkerKilled
from loragrid.jobs import slurm
from loragrid.jobs.attempts import OUT_OF_TIME, begin_attempt, end_attempt, read_attempts
from loragrid.jobs.requeue import MOST_RESTARTS, ask_for_this_job, is_at_limit, requeue_this_job
from loragrid.jobs.stop import Stop

TEMPORARY_FAILURE = os.EX_TEMPFAIL


class _Terminated(BaseException):
    """SIGTERM came. No `Exception`, so that nothing in a stage takes it for an error of its own."""


def attempts_folder(rule: str, id_: str) -> Path:
    """Where the attempts at one target of a rule are recorded.

    Args:
        rule: the rule's name, e.g. `clean`.
        id_: what it makes, as in the name of its log.
    """
    return Path("results/logs", rule, id_)


def signal_seconds(options: str) -> int:
    """How long before its limit Slurm tells a job.

    Args:
        options: of sbatch, e.g. `--signal=TERM@60`.

    Returns:
        Seconds; Slurm's own default of 60 where none are named, 0 without such an option.
    """
    found = re.search(r"--signal[= ][^\s'\"@]*(?:@(\d+))?", options)
    return int(found[1] or 60) if found else 0


@contextlib.contextmanager
def restarting(rule: str, id_: str) -> Iterator[None]:
    """Let what is done in this block start again if its job has to end before it is done.

    Outside of a job that the workflow has submitted to Slurm, SIGTERM does what it always does.

    Args:
        rule: the rule's name.
        id_: what it makes, as in the name of its log.

    Raises:
        SystemExit: the job was told to end. What the block makes is written whole or not at all.
    """
    if slurm.own_job() is None or not slurm.has_job_to_itself():
        yield
        return
    place = attempts_folder(rule, id_)
    owner = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() != owner:
            os._exit(TEMPORARY_FAILURE)  # a process that the stage has started
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm may repeat it
        raise _Terminated

    before, number = signal.signal(signal.SIGTERM, end), 0
    try:
        number = begin_attempt(place)
        yield
        end_attempt(place, number, "finished")
    except _Terminated:
        _start_again_later(place, number)
        sys.exit(TEMPORARY_FAILURE)
    except WorkerKilled:
        # As if this process had been: whether it was for memory, Slurm knows, and is asked before the next attempt.
        raise
    except UserError as error:
        end_attempt(place, number, "failed", str(error))
        raise
    except Exception as error:
        end_attempt(place, number, "failed", f"{type(error).__name__}: {error}")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _start_again_later(place: Path, number: int) -> None:
    here = ask_for_this_job()
    if here is None or here.state != "RUNNING":
        # Cancelled, or at its limit: the main process will ask Slurm.
        print(f"loragrid: told to end; Slurm says: {here.state if here else 'nothing'}", flush=True)
        return
    if number == 0:
        number = begin_attempt(place)  # told before that was on record
    executor = os.environ.get(slurm.RESUBMITS)
    if is_at_limit(here):
        end_attempt(place, number, OUT_OF_TIME, f"told to end {here.seconds_left:.0f} s before the job's time limit")
        print("loragrid: out of time; the next attempt asks for more", flush=True)
        if executor:
            Path(executor).write_text(slurm.NOT_AGAIN, encoding="utf-8")
        return
    end_attempt(place, number, "terminated")
    if [attempt.get("ended") for attempt in read_attempts(place)][-MOST_RESTARTS:] == ["terminated"] * MOST_RESTARTS:
        print(f"loragrid: told to end {MOST_RESTARTS} times in a row; find out by whom", flush=True)
        if executor:
            Path(executor).write_text(slurm.NOT_AGAIN, encoding="utf-8")
        return
    print("loragrid: told to end; it will begin anew", flush=True)
    if executor:
        Path(executor).touch()
        return
    with Stop().listening() as stop:
        requeue_this_job(stop)
