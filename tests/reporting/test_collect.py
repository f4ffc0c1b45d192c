"""What a row says of results that are missing, failed or damaged."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from loragrid.comparing.collect import collect
from loragrid.comparing.gains import gains
from loragrid.files import read_json
from loragrid.reporting.tabulate import tabulate


def status(tree):
    """Status and reason of the last row; the tables are written too, whatever it is."""
    tabulate(tree.grid)
    row = collect(tree.grid).rows[-1]
    return row.status, row.reason


def attempts(tree, folder, *ends):
    lines = []
    for number, end in enumerate(ends, start=1):
        lines.append({"attempt": number, "started": number, "log": f"{number}.log"})
        if end is not None:
            lines.append({"attempt": number, "ended": end, "why": "because", "log": f"{number}.log"})
    tree.write_lines(f"{folder}/work/attempts.jsonl", lines)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], ("missing", "not trained yet")),
        (["terminated"], ("missing", "the last attempt was terminated; will be continued")),
        (["terminated", "stopped"], ("missing", "the last attempt was stopped by the clock; will be continued")),
        (
            ["out of memory"],
            ("missing", "the last attempt ran out of the GPU's memory; will be tried again with a smaller micro-batch"),
        ),
        (
            ["out of host memory"],
            ("missing", "the last attempt ran out of the host's memory; will be tried again with more"),
        ),
        (["killed"], ("missing", "the last attempt was killed (because); will be continued")),
        (["failed"], ("failed", "failed in train: because (log 1.log)")),
        (["failed", None], ("missing", "attempt 2 has begun and not ended: it is running, or was killed")),
        (["finished"], ("missing", "the last attempt finished, but its result is not published yet")),
    ],
)
def test_attempts_at_training(tree, ends, expected):
    answers = tree.run()
    if ends:
        attempts(tree, answers.subject, *ends)
    assert status(tree) == expected
    assert collect(tree.grid).rows[0].attempts == (len(ends) or None)


def test_a_hopeless_failure_is_told_with_its_stage_and_log(tree):
    answers = tree.run()
    attempts(tree, answers.subject, "failed")
    tree.write(f"{answers.subject}/work/failed.json", {"reason": "NaN loss", "log": "x.log", "stage": "train"})
    assert status(tree) == ("failed", "failed in train: NaN loss (log x.log)")


def test_a_failure_for_a_reason_that_is_gone_is_none(tree):
    parent, answers = tree.run(), tree.run(label="child")
    reason = {"reason": "its parent failed", "stage": "train", "log": "x.log"}
    blocked_by = f"{parent.subject}/work/failed.json"
    tree.write(blocked_by, reason)
    tree.write(f"{answers.subject}/work/failed.json", {**reason, "blocked_by": blocked_by})
    assert status(tree)[0] == "failed"
    Path(blocked_by).unlink()
    assert status(tree) == ("missing", "not trained yet")


def test_trained_asked_and_scored_one_after_the_other(tree):
    answers = tree.run()
    tree.train(answers)
    assert status(tree) == ("missing", "trained, not asked yet")
    attempts(tree, answers.folder, "terminated")
    assert status(tree) == ("missing", "the last attempt was terminated; will be continued")
    tree.score(answers)
    Path(answers.score_file("rouge")).unlink()
    Path(answers.folder, "work", "attempts.jsonl").unlink()
    assert status(tree) == ("missing", "asked, not scored yet: rouge")
    assert {"perplexity", "bits_per_byte"} <= set(collect(tree.grid).rows[0].scores)
    tree.score(answers)
    assert status(tree) == ("done", "")


def test_a_run_made_with_other_settings_is_not_shown(tree):
    answers = tree.run()
    tree.train(answers, key="f" * 64)
    tree.score(answers)
    state, reason = status(tree)
    assert state == "missing"
    assert reason.startswith("made with other settings: results/runs/tiny/ed/")
    assert collect(tree.grid).rows[0].scores == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"key": "0"}', b"\xff\xfe".decode("latin-1")])
def test_a_damaged_run_file_fails_its_row_only(tree, content):
    base = tree.untrained()
    tree.score(base)
    answers = tree.run()
    tree.train(answers)
    tree.write(f"{answers.subject}/run.json", content)
    state, reason = status(tree)
    assert "run.json" in reason
    assert state == ("missing" if "key" in content else "failed")
    assert collect(tree.grid).rows[0].status == "done"


OVERLAP = {"id": "a", "dialogue": "d"} | dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), 0.2)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        {"key": "other"},
        {"items": []},
        {"items": [{"id": "a", "dialogue": "d"}]},
        {"items": [OVERLAP, OVERLAP]},
        {"items": [OVERLAP | {"rougeL": None}]},
        {"items": [OVERLAP | {"dialogue": 1}]},
        {"metrics": {"rougeL": 1}},
        {"metrics": dict.fromkeys(("rouge1", "rouge2", "rougeL", "rougeLsum"), "high")},
        # Not the value of its items.
        {"metrics": {"rouge1": 0.2, "rouge2": 0.2, "rougeL": 0.3, "rougeLsum": 0.2}},
        {"metrics": {"rouge1": 0.2, "rouge2": 0.2, "rougeL": None, "rougeLsum": 0.2}},
    ],
)
def test_a_damaged_score_file_fails_its_row_only(tree, content):
    base, answers = tree.untrained(), tree.run()
    tree.score(base)
    tree.train(answers)
    tree.score(answers)
    if isinstance(content, dict):
        content = read_json(Path(answers.score_file("rouge"))) | content
    tree.write(answers.score_file("rouge"), content)
    state, reason = status(tree)
    assert state == "failed"
    assert answers.score_file("rouge") in reason
    assert "bits_per_byte" in collect(tree.grid).rows[-1].scores
    assert collect(tree.grid).rows[0].status == "done"


@pytest.mark.parametrize("name", ["training.jsonl", "eval/test-aa/generations.jsonl", "eval/test-aa/generation.json"])
@pytest.mark.parametrize("content", ["", "{", '{"step": "x", "loss": []}', "[]", "7"])
def test_damage_to_what_scores_do_not_need_stops_nothing(tree, name, content):
    tree.score(tree.untrained())
    answers = tree.run()
    tree.train(answers)
    tree.score(answers)
    tree.write(f"{answers.subject}/{name}", content)
    assert status(tree) == ("done", "")


@pytest.mark.parametrize("content", ["", "7", '{"id": 1}', '{"id": "a", "reference": "b", "messages": [1]}'])
def test_damaged_prompts_stop_nothing(tree, content):
    tree.score(tree.untrained())
    tree.write(tree.grid.prompts["test-1"].file, content)
    tabulate(tree.grid)


def test_a_comparison_needs_the_same_items(tree):
    base, answers = tree.untrained(), tree.run()
    tree.score(base)
    tree.train(answers)
    tree.dialogues = 11
    tree.score(answers)
    found = gains(collect(tree.grid))
    assert {gain.reason for gain in found.values()} == {"1 of the 12 dialogues of the untrained model are missing"}
    tree.turns, tree.dialogues = 1, 12
    tree.score(answers)
    found = gains(collect(tree.grid))
    assert {gain.reason for gain in found.values()} == {"scored on other prompts than the untrained model"}


def test_untrained_rows_come_first_then_the_order_of_the_grid(tree):
    first, second = tree.run(rank=64), tree.run(rank=8)
    base = tree.untrained()
    assert [row.answers.id for row in collect(tree.grid).rows] == [base.id, first.id, second.id]


def test_the_loss_is_that_of_the_published_adapter(tree):
    last, best = tree.run(), tree.run(keep="best")
    for answers in (last, best):
        tree.train(answers, 2.0)
    assert [row.validation_loss for row in collect(tree.grid).rows] == [2.0, 1.95]


def test_an_end_that_is_a_token_is_compared_with_one_in_words_but_not_token_by_token(tree):
    tree.score(tree.untrained(), 50.0)
    words, token = tree.run(rank=8), tree.run(rank=16)
    for answers in (words, token):
        tree.train(answers)
        tree.score(answers, 40.0)
    tree.grid.answers[token.id] = replace(token, chat=token.chat | {"name": "token", "end_token": "train"})
    content = read_json(Path(token.score_file("likelihood")))
    items = [item | {"tokens": 6} for item in content["items"]]
    tree.score_file(token, "likelihood", items)
    found = gains(collect(tree.grid))
    assert found[token.id, "bits_per_byte"].comparison.gain == pytest.approx((50 - 40) / 40 / math.log(2))
    assert "in other tokens" in found[token.id, "perplexity"].comparison.reason
    assert found[words.id, "perplexity"].comparison.gain > 0


def test_models_are_compared_with_their_own_untrained_model(tree):
    for model, nats in (("tiny", 50.0), ("small", 30.0)):
        tree.score(tree.untrained(model), nats)
        answers = tree.run(model=model)
        tree.train(answers)
        tree.score(answers, 40.0)
    results = collect(tree.grid)
    found = gains(results)
    signs = [found[row.answers.id, "bits_per_byte"].comparison.gain > 0 for row in results.rows if row.run]
    assert signs == [True, False]
    assert list(results.groups()) == [("tiny", "ed"), ("small", "ed")]
