"""What `loragrid failures` says."""

from pathlib import Path


def test_nothing_has_failed(place):
    assert place.loragrid("failures", "small") == "small: nothing has failed\n"


def test_a_failed_training_with_the_end_of_its_log(place):
    log = place.attempt(place.first, "failed", number=1)
    log = place.attempt(
        place.first, "failed", number=2,
        log="".join(f"line {number}\n" for number in range(50)) + "Loading  10%\rLoading 100%\n\x1b[31mred\n",
    )  # fmt: skip
    record = place.fail(place.first, "train", "the training loss is nan at step 3", log)
    assert place.loragrid("failures", "small", "--lines", "4") == (
        f"base, dialogues, {place.first.name}: train failed, attempt 2\n"
        "  reason: the training loss is nan at step 3\n"
        f"  log: {log}\n"
        "  | line 48\n"
        "  | line 49\n"
        "  | Loading 100%\n"
        "  | \\x1b[31mred\n"
        f"  to try again: mend the cause and delete {record}\n"
    )
    assert place.loragrid("failures", "small").count("  | ") == 20


def test_what_follows_from_a_failure_is_named_with_it(place):
    log = place.attempt(place.first, "failed", log="once\n")
    cause = place.fail(place.first, "train", "NaN", log)
    answers = place.answers(place.first)
    place.fail(answers, "generate", "its training failed: NaN", "other.log", blocked_by=str(cause))
    said = place.loragrid("failures", "small")
    assert said.count("once") == said.count("failed") - said.count("failed.json") == 1
    assert f"  cannot go on because of it: generate of base, dialogues, {place.first.name}\n" in said
    assert said.count("to try again") == 1


def test_failures_that_the_next_start_tries_again(place):
    log = place.attempt(place.second, "failed", why="RuntimeError: what", log="Traceback\nRuntimeError: what\n")
    said = place.loragrid("failures", "small")
    assert "  | RuntimeError: what\n" in said
    assert log in said
    assert "  to try again: mend the cause, start the workflow again\n" in said


def test_the_log_of_a_job_is_shown_once_and_each_evaluation_is_named(place):
    log = str(place.write("results/logs/generate/b.log", "no room\n"))
    runs = [place.first, place.second]
    for run in runs:
        place.finish(run)
        for answers in place.grid.answers.values():
            if answers.subject == run.folder:
                place.fail(answers, "generate", "no room for a prompt", log)
    said = place.loragrid("failures", "small")
    evaluations = len({answers.evaluation for answers in place.grid.answers.values()})
    assert said.count("  | no room\n") == 1
    assert said.count(f"  log: {log} (above)\n") == 2 * evaluations - 1
    heads = [line for line in said.splitlines() if line.endswith(" failed")]
    assert len(set(heads)) == len(heads) == 2 * evaluations


def test_failed_data_and_scores(place):
    (raw,) = place.grid.raw.values()
    log = place.write(f"results/logs/download_dataset/{raw.id}.log", "loragrid: https://x: the server answers 403\n")
    said = place.loragrid("failures", "small")
    assert said.startswith(f"download {raw.id} failed\n  reason: https://x: the server answers 403\n  log: {log}\n")


def test_a_log_that_is_gone_or_binary(place):
    place.fail(place.first, "train", "NaN", "gone.log")
    Path("binary.log").write_bytes(bytes(range(256)) * 4)
    place.fail(place.second, "train", "NaN", "binary.log")
    said = place.loragrid("failures", "small")
    assert "log: gone.log" in said
    assert "\x00" not in said
