import json
import os
import signal
import time
from dataclasses import dataclass

import pytest

from loragrid.errors import UserError
from loragrid.files import write_json
from loragrid.jobs.attempts import (
    Blocked,
    came_further,
    cost_of,
    give_up_if_hopeless,
    out_of_memory_attempts,
    read_attempts,
)
from loragrid.jobs.stop import Interrupted, Stop
from loragrid.jobs.work import attempt_members
from loragrid.study.members import Member

MEMBERS = ["a", "b", "c"]


@dataclass(frozen=True)
class Named(Member):
    """A member that makes a file `done`."""

    name: str
    place: str

    @property
    def folder(self):
        return self.place

    @property
    def products(self):
        return ["done"]


@pytest.fixture
def batch(tmp_path):
    """Work on three members; each is settled once it has a file `done` or has failed."""

    def run(work, members=MEMBERS):
        def finish(member, place, stop):
            work(member.name, stop)
            (place / "done").touch()

        return attempt_members([Named(name, str(tmp_path / name)) for name in members], "train", finish)

    run.folder = tmp_path
    run.ends = lambda: {
        name: [record.get("ended") for record in read_attempts(tmp_path / name / "work")] for name in MEMBERS
    }
    return run


def fail(with_what, name="a"):
    def work(member, _):
        if member == name:
            raise with_what

    return work


def test_each_member_once(batch):
    seen = []
    assert batch(lambda name, _: seen.append(name))
    assert seen == ["a", "b", "c"]
    assert batch(lambda name, _: seen.append(name))
    assert seen == ["a", "b", "c"]
    assert batch.ends() == {"a": ["finished"], "b": ["finished"], "c": ["finished"]}


def test_an_error_of_the_users_is_final_and_the_others_go_on(batch):
    assert batch(fail(UserError("the rate is too high")))
    assert batch.ends() == {"a": ["failed"], "b": ["finished"], "c": ["finished"]}
    failure = json.loads((batch.folder / "a" / "work" / "failed.json").read_text())
    assert (failure["reason"], failure["stage"], failure["blocked_by"]) == ("the rate is too high", "train", None)
    assert failure["log"] == str(batch.folder / "a" / "work" / "attempt-1.log")


def test_a_block_names_the_failure_that_it_waits_for(batch):
    write_json(batch.folder / "parent" / "failed.json", {"reason": "no room"})
    assert batch(fail(Blocked("no adapter", by=batch.folder / "parent" / "failed.json")))
    failure = json.loads((batch.folder / "a" / "work" / "failed.json").read_text())
    assert failure["blocked_by"] == str(batch.folder / "parent" / "failed.json")


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ValueError("a defect"), "failed"),
        (MemoryError("8 GiB"), "out of memory"),
        (RuntimeError("CUDA error: out of memory"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
    ],
)
def test_other_errors_are_tried_again(batch, error, ended):
    assert not batch(fail(error))
    # Whatever it left behind in this process, the others do not see.
    assert batch.ends() == {"a": [ended], "b": [], "c": []}
    assert read_attempts(batch.folder / "a" / "work")[0]["why"] == f"{type(error).__name__}: {error}"
    assert not (batch.folder / "a" / "work" / "failed.json").exists()
    assert batch(lambda *_: None)
    assert batch.ends()["a"] == [ended, "finished"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_nothing_new_is_started(batch, number):
    def work(name, stop):
        if name == "b":
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), signal.SIGTERM)  # Slurm sends it once more at the limit
            stop.check("at step 5")

    assert not batch(work)
    assert batch.ends() == {"a": ["finished"], "b": ["terminated"], "c": []}
    assert read_attempts(batch.folder / "b" / "work")[0]["why"] == "told to end at step 5; goes on from there"
    assert batch(lambda *_: None)


def test_work_that_ends_in_time_all_the_same_is_kept(batch):
    assert not batch(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert batch.ends() == {"a": ["finished"], "b": [], "c": []}


def test_a_second_interrupt_ends_at_once(batch):
    def work(*_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on")

    with pytest.raises(KeyboardInterrupt):
        batch(work)


def test_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening() as stop:
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    stop.check("anywhere")
    stop.signalled = True
    with pytest.raises(Interrupted):
        stop.check("anywhere")


def test_a_killed_attempt_ends_with_its_last_sign_of_life(batch):
    work = batch.folder / "a" / "work"
    work.mkdir(parents=True)
    (work / "attempts.jsonl").write_text('{"attempt": 1, "started": 1000, "log": "attempt-1.log"}\n')
    (work / "checkpoints").mkdir()
    (work / "checkpoints" / "state.json").touch()
    for file in (work / "attempts.jsonl", work / "checkpoints" / "state.json"):
        os.utime(file, (1060, 1060))
    assert batch(lambda *_: None)
    assert batch.ends()["a"] == ["killed", "finished"]
    # The time in the queue before the second attempt costs nothing.
    cost = cost_of(work)
    assert 60 <= cost["seconds"] < 120
    assert cost["attempts"] == 2


def test_peak_memory_is_the_most_of_any_attempt(tmp_path):
    lines = [
        {"attempt": 1, "started": 10, "log": "l"},
        {"attempt": 1, "ended": "terminated", "at": 20, "peak_memory_bytes": 2**50},
        {"attempt": 2, "started": 30, "log": "l"},
        {"attempt": 2, "ended": "finished", "at": 35, "peak_memory_bytes": 1},
    ]
    (tmp_path / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    cost = cost_of(tmp_path)
    assert (cost["seconds"], cost["peak_memory_bytes"], cost["attempts"]) == (15, 2**50, 2)


def test_only_the_first_of_several_processes_keeps_records(batch, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    batch(fail(UserError("told by the first process")), MEMBERS[:1])
    work = batch.folder / "a" / "work"
    assert [file.name for file in work.iterdir()] == ["attempt-1-rank-1.log"]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_what_failed_first_is_the_cause(batch, monkeypatch, rank):
    """One rank runs out of memory; the other one fails because it is left alone."""
    work = batch.folder / "a" / "work"

    def out_of_memory_elsewhere(*_):
        monkeypatch.setenv("RANK", rank)
        line = {"attempt": 1, "ended": "out of memory", "why": "on the other GPU", "at": time.time()}
        with (work / "attempts.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        raise RuntimeError("Connection closed by peer")

    batch(out_of_memory_elsewhere, MEMBERS[:1])
    (attempt,) = read_attempts(work)
    assert (attempt["ended"], attempt["why"]) == ("out of memory", "on the other GPU")


def test_a_new_try_after_a_failure_begins_with_the_whole_micro_batch(batch):
    batch(fail(MemoryError("8 GiB")))
    batch(fail(MemoryError("8 GiB")))
    work = batch.folder / "a" / "work"
    assert out_of_memory_attempts(work) == 2
    batch(fail(UserError("a single row does not fit")))
    (work / "failed.json").unlink()
    assert out_of_memory_attempts(work) == 0
    batch(fail(MemoryError("8 GiB")))
    assert out_of_memory_attempts(work) == 1


def test_output_goes_to_the_log_of_the_attempt(batch):
    def work(*_):
        os.write(1, b"from a C library\n")
        raise ValueError("with a traceback")

    batch(work, MEMBERS[:1])
    assert "from a C library" in (batch.folder / "a" / "work" / "attempt-1.log").read_text()


def test_a_line_that_a_loss_of_power_has_torn_is_passed_over(batch):
    work = batch.folder / "a" / "work"
    work.mkdir(parents=True)
    (work / "attempts.jsonl").write_text('{"attempt": 1, "started": 1000, "log": "attempt-1.log"}\n{"attempt": 1, "en')
    assert batch(lambda *_: None)
    assert batch.ends()["a"] == ["killed", "finished"]


@pytest.mark.parametrize(
    ("what", "lines", "went_on"),
    [("answers", 3, True), ("answers", 2, False), ("likelihoods", 3, False)],
)
def test_answers_that_were_kept_since_the_last_standing_are_progress(tmp_path, what, lines, went_on):
    numbers = {"first": 2, "done": 2, "total": 9, "began": 1001.0, "at": 1001.0, "loss": None}
    write_json(tmp_path / "standing.json", {"what": what, **numbers})
    (tmp_path / "generations.part.jsonl").write_text("{}\n" * lines + '{"cut')
    assert came_further(tmp_path, 1000.0) == went_on


def of_ends(place, *ends):
    place.mkdir(parents=True)
    lines = [{"attempt": number, "started": number, "log": "l", **end} for number, end in enumerate(ends, 1)]
    (place / "attempts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


STARVED = {"ended": "out of host memory", "progress": False}
DIED = {"ended": "killed", "alone": True, "progress": False}


@pytest.mark.parametrize(
    ("ends", "given_up"),
    [
        ([STARVED] * 3, False),  # the next job asks for more still
        ([STARVED] * 4, True),
        ([DIED, STARVED, DIED], False),
        ([DIED, STARVED, DIED, DIED], True),
        ([DIED, DIED, DIED | {"progress": True}, DIED], False),
        ([DIED | {"alone": False}] * 9, False),  # together with their jobs
        ([DIED | {"ended": "failed", "elsewhere": True}] * 9, False),  # the node's fault
    ],
)
def test_when_a_member_is_given_up(tmp_path, ends, given_up):
    of_ends(tmp_path / "work", *ends)
    give_up_if_hopeless(tmp_path / "work", "train")
    assert (tmp_path / "work/failed.json").exists() == given_up
