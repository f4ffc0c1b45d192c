import json
from pathlib import Path

import pytest
from studies import DPO, VOTES

from loragrid.errors import UserError
from loragrid.study.batches import Batch, open_batch, read_batch
from loragrid.study.members import has_failed
from loragrid.study.planning import plan
from loragrid.study.shape import Shape

RANKS = "grid: {rank: [4, 8]}\nuntrained: [base]"


def touch(file: str | Path, content: str = "{}") -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(content)


def only(batches: dict[str, Batch]) -> Batch:
    (batch,) = batches.values()
    return batch


def test_everything_is_missing_at_first(place):
    grid = place.small(RANKS)
    made = plan(grid)
    assert made.by_run().keys() == grid.runs.keys()
    assert made.by_answers().keys() == grid.answers.keys()
    assert not list(Path().rglob("results"))  # planning writes nothing


def test_what_is_published_is_not_planned(place):
    grid = place.small(RANKS)
    trained, other = grid.runs
    touch(f"{trained}/run.json")
    answers = next(item for item in grid.answers.values() if item.subject == trained)
    touch(answers.score_file("likelihood"))
    made = plan(grid)
    assert made.by_run().keys() == {other}
    # Of these answers only the generations are missing; they wait for no training.
    batch = made.by_answers()[answers.folder]
    assert batch.members[0].parts == {"generations": answers.generations}
    assert batch.after == []
    touch(answers.generations)
    assert answers.folder not in plan(grid).by_answers()


def test_generation_comes_after_training_its_run(place):
    grid = place.small(RANKS)
    made = plan(grid)
    for folder, batch in made.by_answers().items():
        subject = grid.answers[folder].subject
        assert batch.after == ([made.by_run()[subject].done] if subject in grid.runs else [])


def test_a_child_is_trained_after_its_parent(place):
    grid = place.small("points: [{name: b, parent: a, epochs: 1}, {name: a}]")
    runs = {run.label: run.folder for run in grid.runs.values()}
    batches = plan(grid).by_run()
    assert batches[runs["b"]].after == [batches[runs["a"]].done]
    assert batches[runs["a"]].after == []
    touch(f"{runs['a']}/run.json")
    assert plan(grid).by_run()[runs["b"]].after == []


def test_what_dpo_compares_with_comes_between_the_parent_and_its_children(place):
    points = "{name: a, dataset: letters}, {name: b, parent: a, DPO}, {name: c, parent: a, DPO, beta: 0.2}"
    grid = place.open(VOTES, f"points: [{points}]".replace("DPO", DPO))
    runs = {run.label: run for run in grid.runs.values()}
    made = plan(grid)
    compared, trained = only(made.log_probabilities), made.by_run()
    assert compared.after == [trained[runs["a"].folder].done]
    for child in (runs["b"], runs["c"]):
        assert trained[child.folder].after == sorted([trained[runs["a"].folder].done, compared.done])
    touch(f"{runs['a'].folder}/run.json")
    assert only(plan(grid).log_probabilities).after == []
    touch(only(grid.log_probabilities).file)
    again = plan(grid)
    assert again.log_probabilities == {}
    assert again.by_run()[runs["b"].folder].after == []
    # Those of trained runs are not made again.
    Path(only(grid.log_probabilities).file).unlink()
    for child in (runs["b"], runs["c"]):
        touch(f"{child.folder}/run.json")
    assert plan(grid).log_probabilities == {}


def test_a_batch_needs_data_and_model(place):
    grid = place.small()
    (formatted,), (model,), (prompts,) = grid.formatted.values(), grid.models.values(), grid.prompts.values()
    (report,) = grid.preflights.values()
    assert only(plan(grid).train).needs == [
        f"{formatted.folder}/format.json", f"{model.folder}/model.json", report.file,
    ]  # fmt: skip
    assert only(plan(grid).generate).needs == [f"{model.folder}/model.json", prompts.file, report.file]


def test_the_id_says_what_is_made_not_how_fast_or_for_which_study(place):
    def ids(more: str, name: str) -> list[str]:
        models = f"{{title: x, models: {{base: {{id: org/base, {more}}}}}, datasets: {{letters: {{source: letters}}}}}}"
        made = plan(place.open(models, name=name))
        return [*made.train, *made.generate]

    first = ids("micro_batch: 8", "one")
    assert ids("micro_batch: 8", "one") == first
    assert ids("micro_batch: 2, parameters: 7e9", "two") == first
    assert ids("revision: other", "three") != first


def test_adding_a_run_leaves_the_other_batches(place):
    before = plan(place.small("grid: {rank: [4, 8]}"))
    after = plan(place.small("grid: {rank: [4, 8, 16]}"))
    assert before.train.keys() < after.train.keys()
    assert before.generate.keys() < after.generate.keys()


def test_done_but_deleted_is_made_again_under_a_new_id(place):
    grid = place.small()
    first = only(plan(grid).train)
    touch(first.done)
    second = only(plan(grid).train)
    assert second.id != first.id
    touch(second.done)
    assert only(plan(grid).train).id not in (first.id, second.id)


def test_what_is_finished_and_not_yet_published_is_in_no_batch(place):
    grid = place.small()
    first = only(plan(grid).train)
    touch(first.members[0].work / "run.json")
    again = plan(grid)
    assert again.train == {}
    assert only(again.generate).after == []  # its adapter is there


def test_a_failure_settles_a_member(place):
    grid = place.small()
    first = only(plan(grid).train)
    (member,) = first.members
    touch(first.done)
    assert not member.is_settled()
    touch(member.work / "failed.json", '{"reason": "the loss is not a number"}')
    assert member.is_settled()
    again = plan(grid)
    assert again.train == again.generate == again.score == {}


def test_a_failure_whose_cause_is_gone_settles_nothing(place):
    grid = place.small("points: [{name: a}, {name: b, parent: a, epochs: 1}]")
    parent, child = (batch for batch in plan(grid).by_run().values())
    cause = parent.members[0].work / "failed.json"
    work = child.members[0].work
    touch(work / "failed.json", json.dumps({"reason": "its parent failed", "blocked_by": str(cause)}))
    assert not has_failed(work)
    touch(cause)
    assert has_failed(work)


def test_answers_are_settled_when_all_parts_are_there(place):
    batch = only(plan(place.small()).generate)
    (member,) = batch.members
    work = member.work
    touch(work / "generations.jsonl")
    assert not member.is_settled()
    touch(work / Path(member.parts["likelihood"]).name)
    assert member.is_settled()


def shape(minutes=10.0, longest=30.0, shortest=0.0, slots=1, living=None):
    return Shape(lambda _: minutes, longest, shortest, slots, living or {})


def ranks(batches):
    return sorted(sorted(member.run.recipe.rank for member in batch.members) for batch in batches.values())


FOUR = "grid: {rank: [4, 8, 16, 32]}"


@pytest.mark.parametrize(
    ("shaped", "jobs"),
    [
        (shape(), [[4, 8], [16, 32]]),  # 40 minutes in jobs of 30 at most: two of like length, not 30 and 10
        (shape(longest=60), [[4, 8, 16, 32]]),
        (shape(longest=60, slots=2), [[4, 8], [16, 32]]),
        (shape(longest=60, slots=24), [[4], [8], [16], [32]]),
        (shape(longest=60, slots=24, shortest=20), [[4, 8], [16, 32]]),  # each is worth its start
        (shape(longest=0), [[4], [8], [16], [32]]),
        (shape(minutes=600), [[4], [8], [16], [32]]),
        (shape(minutes=0, longest=0), [[4], [8], [16], [32]]),
    ],
)
def test_short_runs_share_a_job(place, shaped, jobs):
    assert ranks(plan(place.small(FOUR), shaped).train) == sorted(jobs)


def test_unequal_runs_are_shared_out_by_their_minutes(place):
    minutes = {4: 1, 8: 1, 16: 2, 32: 2}
    shaped = Shape(lambda member: minutes[member.run.recipe.rank] if hasattr(member.run, "recipe") else 1, 30, 0, 2)
    assert ranks(plan(place.small(FOUR + "\nuntrained: []"), shaped).train) == [[4, 8], [16, 32]]


def test_nobody_waits_for_the_data_of_another_as_long_as_it_is_missing(place):
    two = "datasets: {letters: {source: letters}, others: {source: letters, seed: 7}}, grid: {rank: [4, 8]}"
    study = f"{{title: x, models: {{base: {{id: org/Base-7B, revision: abc123, parameters: 7e9}}}}, {two}}}"
    grid = place.open(study)
    made = plan(grid, shape(longest=600))
    assert ranks(made.train) == [[4, 8], [4, 8]]
    for batch in made.train.values():
        assert len({member.run.formatted for member in batch.members}) == 1
    for file in {need for batch in made.train.values() for need in batch.needs}:
        touch(file)
    assert ranks(plan(grid, shape(longest=600)).train) == [[4, 4, 8, 8]]


def test_answers_and_scores_share_a_job_as_far_as_they_wait_for_the_same(place):
    made = plan(place.small(FOUR + "\nuntrained: [base]"), shape())
    training = {batch.done for batch in made.train.values()}
    assert sorted(batch.after for batch in made.generate.values()) == sorted([[], *([done] for done in training)])
    answering = {batch.done for batch in made.generate.values()}
    assert sorted(batch.after for batch in made.score.values()) == sorted([done] for done in answering)
    for batches in (made.generate, made.score):
        assert sorted(len(batch.members) for batch in batches.values()) == [1, 2, 2]


def test_a_parent_and_its_children_share_no_job(place):
    made = plan(
        place.small("points: [{name: a}, {name: b, parent: a, epochs: 1}, {name: c, parent: a, epochs: 2}]"), shape()
    )
    assert sorted(len(batch.members) for batch in made.train.values()) == [1, 2]
    assert [batch.after for batch in made.train.values() if len(batch.members) == 2] == [
        [batch.done] for batch in made.train.values() if len(batch.members) == 1
    ]


def test_a_job_that_somebody_works_on_stays_as_it_is(place):
    grid = place.small("grid: {rank: [4, 8]}")
    first = only(plan(grid, shape()).train)
    plan(grid, shape()).record({("train", first.id)}, {})
    living = {"train": {first.id}}
    # With another number of jobs, and one run more.
    more = place.small("grid: {rank: [4, 8, 16]}")
    again = plan(more, shape(longest=0, living=living))
    assert ranks(again.train) == [[4, 8], [16]]
    kept = again.by_run()[next(iter(grid.runs))]
    assert (kept.id, kept.members) == (first.id, first.members)
    assert kept.needs == kept.after == []  # all was there when it was submitted
    # Also for a study that wants one of its runs only.
    less = place.small("grid: {rank: [8]}")
    assert only(plan(less, shape(living=living)).train).members == first.members
    # Nobody works on it any more.
    assert ranks(plan(more, shape(longest=0)).train) == [[4], [8], [16]]


def test_batches_go_whose_members_are_in_others_now(place):
    grid = place.small("grid: {rank: [4, 8]}")
    together = plan(grid, shape())
    (old,) = together.train
    together.record({("train", old)}, {})
    alone = plan(grid, shape(longest=0))
    new = set(alone.train)
    alone.record(set(), {})
    assert [file.stem for file in Path("results/batches").iterdir()] == [f"train-{old}"]  # tables submit nothing
    alone.record({("train", min(new))}, {})
    assert f"train-{old}" in [file.stem for file in Path("results/batches").iterdir()]  # not all is in others
    Path(f"results/batches/train-{min(new)}.json").unlink()
    alone.record(set(), {"train": {old}})
    assert [file.stem for file in Path("results/batches").iterdir()] == [f"train-{old}"]  # somebody works on it
    alone.record({("train", id_) for id_ in new}, {})
    assert {file.stem for file in Path("results/batches").iterdir()} == {f"train-{id_}" for id_ in new}


def test_batches_of_another_study_stay(place):
    theirs = plan(place.small("grid: {rank: [4, 8]}", name="theirs"), shape())
    theirs.record({("train", id_) for id_ in theirs.train}, {})
    ours = plan(place.small("grid: {rank: [8, 16]}"), shape())
    ours.record({("train", id_) for id_ in ours.train}, {})
    assert {file.stem for file in Path("results/batches").iterdir()} == {
        f"train-{id_}" for id_ in [*theirs.train, *ours.train]
    }


def test_what_needs_something_that_failed_is_in_no_batch(place):
    grid = place.small("points: [{name: a}, {name: b, parent: a, epochs: 1}, {name: c, epochs: 1}]")
    runs = {run.label: run for run in grid.runs.values()}
    touch(Path(runs["a"].folder, "work/failed.json"), '{"reason": "the loss is not a number"}')
    made = plan(grid, shape())
    assert [member.run.label for batch in made.train.values() for member in batch.members] == ["c"]
    assert [member.run.label for batch in made.generate.values() for member in batch.members] == ["c"]
    assert [member.run.label for batch in made.score.values() for member in batch.members] == ["c"]


def test_a_damaged_batch_is_told_and_recorded_anew(place, capsys):
    made = plan(place.small())
    batch = only(made.train)
    touch(batch.file, '{"stage": "train", "mem')
    other = batch.file.with_name("train-0123456789.json")
    touch(other, "{")
    made.record({("train", batch.id)}, {})
    assert open_batch(batch.file) == batch
    told = capsys.readouterr().err
    assert f"warning: {batch.file}: " in told
    assert "(it is recorded anew now)" in told
    assert f"warning: {other}: " in told
    made.record({("train", batch.id)}, {})
    assert f"{batch.file}" not in capsys.readouterr().err


def test_recorded_once_and_read_by_jobs(place):
    def record(made):
        made.record({("train", id_) for id_ in made.train}, {})

    made = plan(place.small())
    record(made)
    batch = only(made.train)
    assert [file.name for file in batch.file.parent.iterdir()] == [batch.file.name]  # of what is submitted alone
    assert read_batch("train", batch.id) == batch == open_batch(batch.file)
    written = batch.file.stat().st_mtime_ns
    record(plan(place.small()))
    assert batch.file.stat().st_mtime_ns == written
    faster = place.open(
        "{title: x, models: {base: {id: org/Base-7B, revision: abc123, parameters: 7e9, micro_batch: 1}},"
        " datasets: {letters: {source: letters}}}"
    )
    record(plan(faster))
    assert read_batch("train", batch.id).members[0].model.micro_batch == 1


def test_a_batch_of_another_version(place):
    touch("results/batches/train-0123456789.json", '{"stage": "train"}')
    with pytest.raises(UserError, match=r"train-0123456789\.json: is no batch of this version"):
        read_batch("train", "0123456789")
    with pytest.raises(UserError, match="no such file"):
        read_batch("generate", "0123456789")
