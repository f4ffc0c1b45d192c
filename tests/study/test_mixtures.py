"""Datasets made of others, and training data without what is asked: what a study says and what its grid holds."""

import pytest

from loragrid.errors import StudyError
from loragrid.study.grid import Clean, Decontaminated, Grid, Mixture

MIXED = """
    title: A mixture
    models: {base: {id: org/Base-7B, revision: abc123}}
    datasets:
      letters: {source: letters, rows: {test: 50}}
      tickets: {source: tickets}
      both: {mixture: {weights: {letters: 3, tickets: 1}}, rows: {train: 1000}}
    grid: {rank: [8]}
    evaluations: {own: {}, letters: {dataset: letters}}
    """


def problems(place, *parts):
    with pytest.raises(StudyError) as raised:
        place.open(*parts)
    return raised.value.problems


def of(grid, kind):
    return [data for data in grid.clean.values() if isinstance(data, kind)]


def test_runs_are_trained_on_the_mixture_and_not_on_its_parts(place):
    grid = place.open(MIXED)
    (run,) = grid.runs.values()
    (mixture,) = of(grid, Mixture)
    assert (run.dataset, run.clean) == ("both", mixture.id)
    assert run.folder.split("/")[-2] == "both"
    assert [(part["name"], part["number"]) for part in mixture.parts] == [("letters", 3), ("tickets", 1)]
    assert {clean.source: clean.needs for clean in of(grid, Clean)} == {
        "letters": ["train", "test"], "tickets": ["train"],
    }  # fmt: skip
    assert {raw.source for raw in grid.raw.values()} == {"letters", "tickets"}


def test_a_part_is_trained_on_by_itself_where_the_study_says_so(place):
    grid = place.open(MIXED.replace("source: tickets", "source: tickets, train: true"))
    assert sorted(run.dataset for run in grid.runs.values()) == ["both", "tickets"]


def test_the_key_of_a_mixture_has_all_that_it_is_made_of(place):
    def key(old="", new=""):
        return of(place.open(MIXED.replace(old, new)), Mixture)[0].key

    usual = key()
    assert key() == usual
    for old, new in [
        ("letters: 3", "letters: 2"), ("weights: {letters: 3", "counts: {letters: 3"), ("train: 1000", "train: 999"),
        ("source: tickets", "source: tickets, steps: [trim]"), ("{train: 1000}", "{train: 1000}, seed: 3"),
        ("tickets: 1}}, rows", "tickets: 1}, repeat: true}, rows"),
    ]:  # fmt: skip
        text = MIXED.replace(old, new)
        if "counts" in new:
            text = text.replace(", rows: {train: 1000}", "")
        assert of(place.open(text), Mixture)[0].key != usual, new


def test_other_training_rows_are_no_other_questions(place):
    def asked(text):
        return {prompts.id for prompts in place.open(text).prompts.values()}

    assert asked(MIXED) == asked(MIXED.replace("train: 1000", "train: 10"))
    assert asked(MIXED) == asked(MIXED.replace("{train: 1000}", "{train: 1000}, contamination: remove"))
    assert asked(MIXED) != asked(MIXED.replace("letters: 3", "letters: 2"))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("{mixture: {}}", "datasets.more.mixture: give either `weights` or `counts` of the datasets to mix"),
        (
            "{mixture: {weights: {letters: 1}, counts: {letters: 1}}}",
            "datasets.more.mixture: give either `weights` or `counts` of the datasets to mix",
        ),
        (
            "{mixture: {weights: {leters: 1}}}",
            "datasets.more.mixture.weights: there is no 'leters'. Did you mean 'letters'? Valid: letters, tickets.",
        ),
        (
            "{mixture: {counts: {both: 5}}}",
            "datasets.more.mixture.counts: 'both' is a mixture itself: name what it is made of",
        ),
        ("{mixture: {weights: {letters: 0}}}", "datasets.more.mixture.weights.letters: input should be greater than 0"),
        (
            "{mixture: {weights: {letters: .inf}}}",
            "datasets.more.mixture.weights.letters: input should be a finite number",
        ),
        (
            "{mixture: {counts: {letters: 1000000000000}}}",
            "datasets.more.mixture.counts.letters: input should be less than or equal to 10000000",
        ),
        (
            "{mixture: {weights: {letters: 1}, repeat: true}}",
            "datasets.more: mixture.repeat: without `rows: {train: …}` there is nothing to fill up by `weights`",
        ),
        (
            "{mixture: {counts: {letters: 0.5}}}",
            "datasets.more.mixture.counts.letters: input should be a valid integer, got a number with a fractional",
        ),
        (
            "{mixture: {weights: {letters: 1}}, source: letters, splits: {test: 0.1}, minimum: 3}",
            "datasets.more: source, splits, minimum: said of each dataset of a `mixture`, not of the mixture",
        ),
        (
            "{mixture: {counts: {letters: 5}}, rows: {train: 5}}",
            "datasets.more: rows.train: `counts` say how many training rows the mixture has",
        ),
        (
            "{mixture: {weights: {letters: 1}}, format: chatt}",
            "datasets.more.format: there is no 'chatt'. Did you mean",
        ),
        (
            "{mixture: {weights: {letters: 1}}, format: pairs}",
            "datasets.more.format: 'pairs' is not for what its parts",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_mixture(place, dataset, said):
    found = problems(place, MIXED.replace("grid:", f"  more: {dataset}\n    grid:"))
    assert found[0].startswith(said), found
    assert len(found) == 1 or "format: pairs" in dataset  # then no method can be trained on it, either


def test_preferences_and_dialogues_are_not_mixed(place):
    study = MIXED.replace("source: tickets}", "source: votes}").replace("both: {", "both: {format: chat, ")
    assert (
        problems(place, study)[0]
        == "datasets.both.mixture: these are not of one kind (letters: Dialogue, tickets: Pair)"
    )


def test_parts_with_different_formats_need_one_for_all(place):
    study = MIXED.replace("{source: tickets}", "{source: tickets, format: turns}")
    assert problems(place, study) == [
        "datasets.both.format: its parts have several (chat, turns): say one for all of it"
    ]
    grid = place.open(study.replace("both: {", "both: {format: turns, "))
    assert next(iter(grid.formatted.values())).format["name"] == "turns"


def test_points_may_take_fewer_rows_of_a_mixture_but_not_split_it(place):
    grid = place.open(MIXED.replace("grid: {rank: [8]}", "points: [{name: few, rank: 4, rows: {train: 10}}]"))
    assert [data.rows for data in of(grid, Mixture)] == [{"train": 10}]
    study = MIXED.replace("grid: {rank: [8]}", "points: [{name: few, rank: 4, splits: {test: 0.5}}]")
    assert problems(place, study) == [
        "points: 'few' has splits, or training rows, of its own for the mixture 'both'; say them of the datasets that "
        "are mixed"
    ]  # fmt: skip


def test_a_mixture_is_not_asked_about_data_that_is_split_in_another_way(place):
    study = MIXED.replace(
        "tickets: {source", "other: {source: letters, splits: {test: 0.5}, train: false}\n      tickets: {source"
    )
    found = problems(place, study.replace("letters: {dataset: letters}", "letters: {dataset: other}"))
    name = next(iter(place.open(MIXED).runs.values())).name
    assert found == [
        f"evaluations.letters: asks {name} about 'other', which is split in another way there than where it was "
        "trained: test rows would be training rows. Give both the same splits, seed and way of reading."
    ]  # fmt: skip


# -- contamination


def test_training_data_is_compared_with_all_that_its_runs_are_asked(place):
    grid = place.open(MIXED)
    (report,) = grid.contamination.values()
    (mixture,) = of(grid, Mixture)
    assert report.clean == mixture.id
    asked = {grid.clean[each["clean"]].slug for each in report.asked}
    assert asked == {"both", "letters"}
    assert report.file == f"results/contamination/both-{report.key[:10]}.json"


def test_a_parent_s_data_is_compared_with_what_its_child_is_asked(place):
    grid = place.open(
        """
        title: A child
        models: {base: {id: org/Base-7B}}
        datasets: {letters: {source: letters}, tickets: {source: tickets}}
        points:
          - {name: first, dataset: letters}
          - {name: second, dataset: tickets, parent: first}
        """
    )
    asked = {
        grid.clean[report.clean].slug: {grid.clean[each["clean"]].slug for each in report.asked}
        for report in grid.contamination.values()
    }
    assert asked == {"letters": {"letters", "tickets"}, "tickets": {"tickets"}}


def test_untrained_models_alone_have_seen_nothing(place):
    grid = place.open("title: x\nmodels: {base: {id: org/b}}\ndatasets: {letters: {source: letters, train: false}}\n"
                      "untrained: [base]\nevaluations: {test: {dataset: letters}}")  # fmt: skip
    assert grid.contamination == {}


def test_what_is_asked_is_removed_from_training_data_on_request(place):
    grid = place.small("evaluations: {own: {}}")
    (before,) = grid.runs.values()
    removed = place.open(
        """
        title: A small study
        models: {base: {id: org/Base-7B, revision: abc123, parameters: 7e9}}
        datasets:
          letters: {source: letters, contamination: remove, rows: {train: 100}}
          tickets: {source: tickets, train: false}
        evaluations: {own: {}, other: {dataset: tickets, split: validation}}
        """
    )
    (run,) = removed.runs.values()
    (data,) = of(removed, Decontaminated)
    base = removed.clean[data.base]
    assert run.key != before.key
    assert run.clean == data.id
    assert data.rows == {"train": 100}
    assert base.rows == {}  # they are chosen after what is asked has gone
    assert {(removed.clean[each["clean"]].slug, each["split"]) for each in data.asked} == {
        ("letters", "test"), ("tickets", "validation"),
    }  # fmt: skip
    # Asked about is the dataset as it was: the questions are those of a run on all of it.
    own = next(prompts for prompts in removed.prompts.values() if prompts.id.startswith("own"))
    assert own.clean == base.id
    assert own.id in grid.prompts


def test_what_children_are_asked_is_removed_from_their_parents_data(place):
    """Also from the parts of a mixture that a parent is trained on."""
    study = """
        title: x
        models: {base: {id: org/b}}
        datasets:
          letters: {source: letters, contamination: remove}
          tickets: {source: tickets}
        points:
          - {name: first, dataset: letters}
          - {name: second, dataset: tickets, parent: first}
        """
    (removed,) = of(place.open(study), Decontaminated)
    assert sorted(each["clean"].split("-")[0] for each in removed.asked) == ["letters", "tickets"]
    alone = study.replace(", parent: first", "")
    (removed,) = of(place.open(alone), Decontaminated)
    assert [each["clean"].split("-")[0] for each in removed.asked] == ["letters"]
    mixed = study.replace("tickets: {source: tickets}", "tickets: {source: tickets}\n          mixed: {mixture: "
                          "{weights: {letters: 1}}}").replace("dataset: letters", "dataset: mixed")  # fmt: skip
    (removed,) = of(place.open(mixed), Decontaminated)
    assert sorted(each["clean"].split("-")[0] for each in removed.asked) == ["letters", "tickets"]


def test_points_on_data_that_nothing_is_trained_on_are_told(place):
    study = MIXED.replace("grid: {rank: [8]}", "points: [{name: lost, dataset: letters}, {name: found, dataset: both}]")
    assert problems(place, study) == [
        "points[0].dataset: nothing is trained on 'letters', which is only asked about or part of a mixture; name "
        "another, or give that one `train: true`"
    ]  # fmt: skip


def test_a_split_that_is_asked_depends_on_what_later_splits_take_from_it(place):
    """What is in the test of a part is taken out of the mixture's validation."""

    def asked(rows):
        study = MIXED.replace("rows: {test: 50}", f"rows: {rows}").replace("own: {}, letters: {dataset: letters}",
                                                                           "own: {split: validation}")  # fmt: skip
        return set(place.open(study).prompts)

    assert asked("{test: 50}") != asked("{test: 40}")
    assert asked("{train: 50}") == asked("{train: 40}")


def test_other_questions_remove_other_rows(place):
    def key(evaluations):
        text = f"datasets: {{letters: {{source: letters, contamination: remove}}}}\nevaluations: {evaluations}"
        grid = place.open("title: x\nmodels: {base: {id: org/b}}\n" + text)
        return next(iter(grid.runs.values())).key

    assert key("{own: {}}") != key("{own: {split: validation}}")
    assert key("{own: {}}") == key("{renamed: {rows: 5}}")


def test_parts_of_a_mixture_are_rid_of_what_any_part_is_asked(place):
    grid = place.open(MIXED.replace("{train: 1000}", "{train: 1000}, contamination: remove"))
    removed = of(grid, Decontaminated)
    assert sorted(data.slug for data in removed) == ["letters", "tickets"]
    for data in removed:
        assert {grid.clean[each["clean"]].slug for each in data.asked} == {"letters", "tickets"}


def test_the_grid_is_read_as_it_was_written(place):
    grid = place.open(MIXED.replace("{train: 1000}", "{train: 1000}, contamination: remove"))
    assert Grid.from_json(grid.to_json()).to_json() == grid.to_json()
    assert Grid.from_json(grid.to_json()).clean == grid.clean
