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


def test_runs_and_the_untrained_model_share_a_report_where_they_are_asked_the_same(place):
    grid = place.small("untrained: [base]")
    assert len(grid.preflights) == 1
    other = place.open(
        """
        title: Two models, of which one is only asked
        models: {base: {id: org/base}, other: {id: org/other}}
        datasets: {letters: {source: letters}}
        """,
        "points: [{name: a, dataset: letters, model: base}]\nuntrained: [base, other]",
    )
    with_data, without = sorted(other.preflights.values(), key=lambda each: each.formatted is None)
    assert with_data.formatted
    assert (without.trainings, without.model) == ([], next(id_ for id_ in other.models if "other" in id_))
