"""Accuracy: over questions, over subjects, and by category."""

import math

import pytest

from loragrid.data.sources import cmmlu, turkishmmlu
from loragrid.errors import UserError
from loragrid.metrics import columns_of
from loragrid.metrics.accuracy import Options, columns, coverage, sound, ties


def item(subject, correct, id_="x", likelihoods=(-1.0, -2.0)):
    return {
        "id": id_, "dialogue": id_, "groups": {"subject": subject}, "correct": correct,
        "log_likelihoods": list(likelihoods),
    }  # fmt: skip


ITEMS = [item("law", 1)] * 3 + [item("law", 0), item("art", 0), item("zoo", 1)]


def value(name, categories, items=ITEMS):
    (column,) = (each for each in columns(Options(categories=categories)) if each.name == name)
    return column.of(items)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("accuracy", 4 / 6),
        ("accuracy_by_subject", (3 / 4 + 0 + 1) / 3),
        ("accuracy_one", 3 / 4),
        ("accuracy_two", (3 / 4 + 0) / 2),
        # Over those of its subjects that were asked.
        ("accuracy_partly", 1.0),
    ],
)
def test_means_over_questions_and_over_subjects(name, wanted):
    categories = {"one": ["law"], "two": ["art", "law"], "partly": ["zoo", "sea"]}
    assert value(name, categories) == pytest.approx(wanted)


def test_a_category_of_which_nothing_was_asked_has_no_value():
    assert math.isnan(value("accuracy_sea", {"sea": ["fish"]}))
    options = Options(categories={"sea": ["fish"], "some": ["law", "war"]})
    assert coverage(options, {"law", "art"}) == {
        "sea": {"asked": 0, "known": 1}, "some": {"asked": 1, "known": 2},
    }  # fmt: skip


def test_a_label_names_the_columns_of_categories():
    score = {"name": "accuracy", "label": "mine", "options": {"categories": {"one": ["law"]}}}
    assert [column.name for column in columns_of(score).values()] == ["mine", "mine_by_subject", "mine_one"]


@pytest.mark.parametrize("name", ["by_subject", "Two words", ""])
def test_a_category_has_a_name_that_a_column_can_have(name):
    with pytest.raises(ValueError, match="no name of a column"):
        Options(categories={name: ["law"]})
    with pytest.raises(ValueError, match="'one' has no subjects"):
        Options(categories={"one": []})


def test_without_a_finite_likelihood_of_each_choice_a_question_is_neither_right_nor_wrong():
    kept, excluded = sound(
        [item("law", 1, "a"), item("law", 0, "b", (-1.0, math.nan)), item("law", 1, "c", (-math.inf, 0))]
    )
    assert [each["id"] for each in kept] == ["a"]
    assert [each["id"] for each in excluded] == ["b", "c"]
    assert "no finite log-likelihood" in excluded[0]["reason"]
    with pytest.raises(UserError, match="all 1 questions are left out: a choice has no finite"):
        sound([item("law", 0, "b", (math.nan, math.nan))])


def test_ties_are_counted():
    assert ties([item("law", 1, "a", (-1.0, -1.0, -2.0)), item("law", 1, "b", (-1.0, -2.0, -2.0))]) == 1


def test_the_categories_of_cmmlu():
    """Those of its paper: four divide the 67 subjects, and 15 of these are specific to China."""
    sizes = {name: len(subjects) for name, subjects in cmmlu.CATEGORIES.items()}
    assert sizes == {"stem": 17, "humanities": 13, "social_science": 22, "other": 15, "china": 15}
    four = [subject for name in list(sizes)[:4] for subject in cmmlu.CATEGORIES[name]]
    assert sorted(four) == sorted(cmmlu.SUBJECTS)
    assert set(cmmlu.CATEGORIES["china"]) < set(four)


def test_the_categories_of_turkishmmlu_divide_its_subjects():
    assert len([subject for subjects in turkishmmlu.CATEGORIES.values() for subject in subjects]) == 9
