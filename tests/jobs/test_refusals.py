"""What a report refuses is settled before any worker starts."""

from pathlib import Path

import pytest

from loragrid.files import read_json, write_json
from loragrid.jobs.refusals import forget_refusals, settle_hopeless, settle_refused
from loragrid.study.planning import plan
from loragrid.study.preflights import found_before, refusals, training_of

LONG_AND_SHORT = """
evaluations:
  short: {scores: [rouge]}
  long: {scores: [rouge], decoding: {max_new_tokens: 999}}
"""


def test_a_model_that_cannot_be_used_is_not_asked(place):
    grid = place.small("untrained: [base]")
    (batch,) = (each for each in plan(grid).generate.values() if each.members[0].run is None)
    precision = batch.members[0].answers.precision
    report = {"key": "k", "unusable": {precision: "of no kind"}, "refused": [], "unasked": [], "warnings": []}
    write_json(Path(batch.members[0].preflight_file), report)
    settle_hopeless(batch)
    assert read_json(batch.members[0].work / "failed.json")["reason"] == "of no kind"
    assert batch.id not in plan(grid).generate


def test_answers_that_do_not_fit_the_model_are_not_asked_for_and_the_others_are(place):
    grid = place.small(LONG_AND_SHORT)
    (report,) = grid.preflights.values()
    (long,) = (each for each in grid.answers.values() if each.evaluation == "long")
    (asked,) = (each for each in report.asked if each["max_new_tokens"] == 999)
    unasked = [{"asked": asked, "reason": "no room"}]
    write_json(Path(report.file), {"key": "k", "unusable": {}, "refused": [], "unasked": unasked, "warnings": []})
    assert found_before(grid) == ["base on letters: cannot be asked: long: no room"]
    for other in place.small(LONG_AND_SHORT + "untrained: [base]").preflights.values():
        content = {"key": "k", "unusable": {}, "refused": [], "unasked": [], "warnings": ["too few"]}
        write_json(Path(other.file), content | {"unasked": unasked if other.file == report.file else []})
    # Of those that are asked the same, with data and without, once.
    assert found_before(place.small(LONG_AND_SHORT + "untrained: [base]")) == [
        "base on letters: cannot be asked: long: no room", "base on letters: too few",
    ]  # fmt: skip
    settle_refused(grid)
    assert read_json(Path(long.folder, "work/failed.json"))["reason"] == "no room"
    left = plan(grid)
    assert [member.answers.evaluation for batch in left.generate.values() for member in batch.members] == ["short"]
    assert len(left.train) == 1


def test_what_untrained_models_are_asked_waits_for_no_training_data(place):
    grid = place.small("untrained: [base]")
    with_data, alone = sorted(grid.preflights.values(), key=lambda each: each.formatted is None)
    assert with_data.formatted
    assert (alone.trainings, alone.model) == ([], with_data.model)
    needs = {batch.members[0].run is None: batch.needs for batch in plan(grid).generate.values()}
    assert with_data.file in needs[False]
    assert alone.file in needs[True]
    assert with_data.file not in needs[True]


def test_what_a_report_that_was_made_again_does_not_repeat_is_forgotten(place):
    grid = place.small()
    (batch,) = plan(grid).train.values()
    (member,) = batch.members
    report = {"key": "k", "unusable": {}, "unasked": [], "warnings": []}
    refused = [{"training": training_of(member.run), "reason": "no template"}]
    write_json(Path(member.preflight_file), report | {"refused": refused})
    settle_refused(grid)
    forget_refusals(batch)
    assert read_json(member.work / "failed.json")["reason"] == "no template"
    assert plan(grid).train == {}
    write_json(Path(member.preflight_file), report | {"refused": []})
    forget_refusals(batch)
    assert not (member.work / "failed.json").exists()
    assert list(plan(grid).train) == [batch.id]


@pytest.mark.parametrize("content", ['{"stage": "tr', "[]", "{}", ""])
def test_a_damaged_record_of_a_failure_is_one_and_holds_up_no_other(place, content):
    grid = place.small("grid: {rank: [4, 8]}")
    whole = plan(grid)
    damaged, other = (member for batch in whole.train.values() for member in batch.members)
    file = damaged.work / "failed.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    settle_refused(grid)
    for batch in (*whole.train.values(), *whole.generate.values()):
        forget_refusals(batch)
        settle_hopeless(batch)
    left = plan(grid)
    assert [member.folder for batch in left.train.values() for member in batch.members] == [other.folder]
    assert [member.run.folder for batch in left.generate.values() for member in batch.members] == [other.folder]
    (blocked,) = Path(damaged.folder).glob("eval/*/work/failed.json")
    assert f"its training failed: {file}" in read_json(blocked)["reason"]
    assert file.read_text() == content
    file.unlink()
    assert len(plan(grid).train) == len(whole.train)


def test_a_trained_parent_is_no_reason_to_refuse_its_children(place):
    points = "points: [{name: a, dataset: letters}, {name: b, parent: a, rank: 16, learning_rate: 1e-5}]"
    grid = place.small(points)
    runs = {run.label: run for run in grid.runs.values()}
    (report,) = (each for each in grid.preflights.values() if each.formatted)
    refused = [{"training": training_of(runs["a"]), "reason": "a name of nothing"}]
    write_json(Path(report.file), {"key": "k", "unusable": {}, "refused": refused, "unasked": [], "warnings": []})
    assert set(refusals(grid)) >= {runs["a"].folder}
    write_json(Path(runs["a"].folder, "run.json"), {})
    assert runs["a"].folder not in refusals(grid)
    assert "a parent" not in str(refusals(grid))


def test_asking_trained_runs_needs_no_training_data(place):
    grid = place.small()
    (run,) = grid.runs.values()
    (batch,) = plan(grid).generate.values()
    assert batch.members[0].preflight_file in batch.needs
    write_json(Path(run.folder, "run.json"), {})
    (batch,) = plan(grid).generate.values()
    assert batch.members[0].preflight_file not in batch.needs
