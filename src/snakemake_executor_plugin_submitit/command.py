"""What runs inside a submitted job: Snakemake's command, and what becomes of it when the job has to end.

submitit pickles a `JobCommand`, and calls it in the job. When Slurm sends SIGUSR2 (some time before the limit, or to
make room for a more urgent job), submitit calls `checkpoint()`, pickles what it returns and requeues the job.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

RESULT = "result.json"

# Work makes this file when going on in the same job is worth it (see loragrid/jobs): a training that has come further
# than it was when its job began, or a stage that was told to end long before its limit. With the text NOT_AGAIN, it has
# to be given a longer job.
PROGRESS = "progress"
NOT_AGAIN = "not again"

# Seconds between two SIGTERMs to work, which may not listen yet while it imports its packages.
REPEAT_SECONDS = 2.0

# Patience with a controller that does not answer.
PATIENCE_SECONDS = 60.0

# How long a command without work may take to end: Snakemake is about to say that its work is done, or is just starting.
ENDING_SECONDS = 5.0

# How often in a row a job is put back into the queue that has not come further: it would go on for ever.
FRUITLESS = 3


class _NotContinued(Exception):
    """What the command did so far counts, and the job is not put back into the queue."""


@dataclass
class JobCommand:
    """Snakemake's command for one job, as submitit submits it.

    Args:
        command: the command line, for bash.
        environment: variables that it gets in addition.
        saving_seconds: how long trainings may take to save when the job has to end.
        signal_seconds: how long before its limit the job is told to end.
    """

    command: str
    environment: dict[str, str]
    saving_seconds: float
    signal_seconds: float
    _pid: int | None = field(default=None, init=False)
    _terminated: bool = field(default=False, init=False)
    _ended_by_slurm: bool = field(default=False, init=False)
    _goes_on: bool = field(default=False, init=False)
    _fruitless: int = field(default=0, init=False)
    _progress: Path | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Run the command, write its exit status for the executor, and end this process.

        A command that Slurm ended has no status: whether the job was cancelled, or preempted and put back into the
        queue, is for Slurm to say.

        Raises:
            SystemExit: always, with 0 only where the command ended so. After a return, submitit would write a pickle
                that nobody reads, into a folder that the executor may be about to remove.
        """
        # The job can be told to end only while it waits for the command: nothing before and after is left half-done.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        folder = JobEnvironment().paths.folder
        (folder / RESULT).unlink(missing_ok=True)
        for left in folder.glob("*.save_tmp"):
            left.unlink()  # a job killed while submitit wrote it: submitit would refuse to write it again
        self._progress = folder / PROGRESS
        self._progress.unlink(missing_ok=True)
        _adopt_orphans()
        signal.signal(signal.SIGTERM, self._note_termination)
        status = self._run()
        if not self._ended_by_slurm:
            write_json(folder / RESULT, {"status": status})
        sys.exit(1 if status else 0)

    def checkpoint(self) -> DelayedSubmission:
        """Let the trainings of this job save and end.

        Returns:
            This same command: when it runs again, it goes on from what was saved.

        Raises:
            _NotContinued: the command is over, or going on would be in vain.
        """
        # Slurm may tell twice, and submitit would begin anew in the midst of this.
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        if self._pid is not None:
            if _has_ended(self._pid) and not (self._terminated or self._goes_on):
                raise _NotContinued
            _say("the job has to end: its trainings save")
            if not self._stop_trainings():
                self._wait_for_the_end(ENDING_SECONDS)
            if _status_if_ended(self._pid) == 0:
                raise _NotContinued
        answer = self._answer()
        if answer == NOT_AGAIN:
            raise _NotContinued
        self._fruitless = self._fruitless + 1 if answer is None else 0
        if self._fruitless > FRUITLESS:
            _say(f"told to end {self._fruitless} times in a row without coming further: does it need a longer limit?")
            raise _NotContinued
        self._pid, self._terminated, self._goes_on = None, False, False
        return DelayedSubmission(self)

    def _answer(self) -> str | None:
        """What the work wrote when it was told to end; None if nothing."""
        if self._progress is None or not self._progress.exists():
            return None
        return self._progress.read_text(encoding="utf-8")

    def _run(self) -> int:
        process = subprocess.Popen(
            # The trap keeps this shell alive through a SIGTERM that Slurm sends to all processes of the job.
            ["bash", "-c", f"trap : TERM; {self.command}"],
            env=os.environ
            | self.environment
            | {
                "LORAGRID_RESUBMITS": str(self._progress),
                "LORAGRID_SIGNAL_SECONDS": str(self.signal_seconds),
            },
            preexec_fn=_ignore_sigusr2,
        )
        self._pid = process.pid
        answered = False
        try:
            while not (ended := _has_ended(process.pid)) or (self._terminated and not answered):
                if self._terminated and not answered:
                    answered = True
                    self._answer_termination()
                elif not ended:
                    with _listening():
                        time.sleep(0.2)
            self._go_on_if_asked_to()
        except _NotContinued:
            pass
        return process.wait()

    def _answer_termination(self) -> None:
        """Find out why SIGTERM came, and act on it."""
        state = _state_of_this_job()
        if state == "RUNNING":
            # Not cancelled and not at its limit, so preempted, on a cluster that does not send SIGUSR2 then.
            with _listening():
                signal.raise_signal(signal.SIGUSR2)
        else:
            self._ended_by_slurm = state is not None
            _say("SIGTERM: the job is cancelled or preempted; its trainings save")
            self._stop_trainings()

    def _go_on_if_asked_to(self) -> None:
        """Put the job back into the queue if somebody has told its work alone to end, and that can go on."""
        if _status_if_ended(self._pid) == 0 or self._answer() != "":
            return
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (state := _state_of_this_job()) == "" and time.monotonic() < deadline:
            time.sleep(REPEAT_SECONDS)  # the controller is away
        if state == "RUNNING":
            self._goes_on = True
            with _listening():
                signal.raise_signal(signal.SIGUSR2)

    def _stop_trainings(self) -> bool:
        """Send SIGTERM to the trainings, and wait until they and the command are over, or time is.

        Returns:
            Whether there were any.

        They may outlive the command: the shell between it and a training dies of the SIGTERM that Slurm sends to all.
        """
        trainings = _trainings()
        if not trainings:
            return False  # nothing below would save anything
        deadline, repeat = time.monotonic() + self.saving_seconds, 0.0
        while (any(map(_runs, trainings)) or not _has_ended(self._pid)) and time.monotonic() < deadline:
            if time.monotonic() >= repeat:
                repeat = time.monotonic() + REPEAT_SECONDS
                for training in trainings:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        training.terminate()
            time.sleep(0.1)
        return True

    def _wait_for_the_end(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not _has_ended(self._pid) and time.monotonic() < deadline:
            time.sleep(0.1)

    def _note_termination(self, *_: Any) -> None:
        self._terminated = True


def _trainings() -> list[psutil.Process]:
    """The processes below this one that run `python -m loragrid`; their own workers are told by them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            parent = process.parent()
            if _is_loragrid(process.cmdline()) and not (parent and _is_loragrid(parent.cmdline())):
                found.append(process)
        except psutil.Error:
            continue  # ended in between
    return found


def _is_loragrid(line: list[str]) -> bool:
    # Not accelerate's launcher, which would give its processes only 30 s: there, `-m loragrid` comes later in the line.
    arguments = line[1:]
    while arguments and arguments[0].startswith("-") and arguments[0] != "-m":
        arguments = arguments[1:]
    return arguments[:2] == ["-m", "loragrid"]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _state_of_this_job() -> str | None:
    """What Slurm says about it, empty if it does not answer; None for a job on this machine."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
        return None
    try:
        asked = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--format=%T"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state = asked.stdout.strip()
    # For the moment in which Slurm sends a running job a signal, squeue calls it so.
    return "RUNNING" if state == "SIGNALING" else state


def _has_ended(pid: int | None) -> bool:
    return _status_if_ended(pid) is not None


def _status_if_ended(pid: int | None) -> int | None:
    """A child's exit status if it has ended; it stays to be waited for.

    `Popen` cannot be asked here: a signal handler that interrupts its `poll` would wait for a lock of its own thread.
    """
    if pid is None:
        return None
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return None if ended is None else ended.si_status


@contextlib.contextmanager
def _listening() -> Iterator[None]:
    """Let SIGUSR2 through, also one that came before."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})


def _ignore_sigusr2() -> None:
    # Slurm sends it to every process of the job; Snakemake's own would die of it, and leave the training alone.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


def _adopt_orphans() -> None:
    """Stay the ancestor of trainings whose shell has died, on Linux."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _say(message: str) -> None:
    print(f"loragrid: {message}", flush=True)


def write_json(file: Path, content: Any) -> None:
    """Write a file that is either whole or not there."""
    temporary = file.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
