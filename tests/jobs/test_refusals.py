"""What a report refuses is settled before any worker starts."""

from pathlib import Path

from studies import DPO, VOTES

from loragrid.files import read_json, write_json
from loragrid.jobs.refusals import settle_hopeless
from loragrid.study.batches import plan
from loragrid.study.preflights import training_of

CHILDREN = f"points: [{{name: b, {DPO}}}, {{name: c, {DPO}, warmup: 0.1}}]"


def refuse(grid, *labels):
    """Write the report that refuses some runs."""
    (preflight,) = grid.preflights.values()
    refused = [
        {"training": training_of(run), "reason": f"{run.label} cannot work"}
        for run in grid.runs.values()
        if run.label in labels
    ]
    write_json(Path(preflight.file), {"key": preflight.key, "unusable": {}, "refused": refused, "warnings": []})
    return preflight.file


def test_what_runs_are_compared_with_is_computed_as_long_as_one_of_them_can_be_trained(place):
    grid = place.open(VOTES, CHILDREN)
    (batch,) = plan(grid).log_probabilities.values()  # as the first start records it, before there is a report
    failed = batch.members[0].work / "failed.json"
    refuse(grid, "b")
    settle_hopeless(batch)
    assert not failed.exists()
    report = refuse(grid, "b", "c")
    settle_hopeless(batch)
    assert read_json(failed)["reason"] == "b cannot work"
    assert read_json(failed)["blocked_by"] == report
    assert plan(grid).log_probabilities == {}


def test_a_model_that_cannot_be_used_is_not_asked(place):
    grid = place.small("untrained: [base]")
    (batch,) = (each for each in plan(grid).generate.values() if each.members[0].run is None)
    precision = batch.members[0].answers.precision
    report = {"key": "k", "unusable": {precision: "of no kind"}, "refused": [], "warnings": []}
    write_json(Path(batch.members[0].preflight_file), report)
    settle_hopeless(batch)
    assert read_json(batch.members[0].work / "failed.json")["reason"] == "of no kind"
    assert batch.id not in plan(grid).generate


def test_what_untrained_models_are_asked_waits_for_no_training_data(place):
    grid = place.small("untrained: [base]")
    with_data, alone = sorted(grid.preflights.values(), key=lambda each: each.formatted is None)
    assert with_data.formatted
    assert (alone.trainings, alone.model) == ([], with_data.model)
    needs = {batch.members[0].run is None: batch.needs for batch in plan(grid).generate.values()}
    assert with_data.file in needs[False]
    assert alone.file in needs[True]
    assert with_data.file not in needs[True]
