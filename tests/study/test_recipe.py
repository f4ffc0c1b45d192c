"""A run's recipe without pydantic, and the numbers that follow from it."""

import subprocess
import sys
from dataclasses import asdict
from typing import get_type_hints

import pytest
from objects import make_run

from loragrid.files import canonical
from loragrid.study.grid import run_of
from loragrid.study.members import plain
from loragrid.study.micro_batch import answers_at_a_time, micro_batches, pairs_at_a_time
from loragrid.study.recipe import NAMES, Recipe
from loragrid.study.schema.recipe import RecipeSpec
from loragrid.study.swiglu import swiglu_width


def test_a_recipe_is_what_a_study_may_say_field_by_field():
    assert list(NAMES) == list(RecipeSpec.model_fields)  # in this order, which is that of records
    said = get_type_hints(RecipeSpec)
    assert get_type_hints(Recipe) == {name: said[name] for name in NAMES}


def test_a_recipe_has_the_defaults_of_a_study_in_the_form_of_keys():
    assert asdict(Recipe()) == RecipeSpec().model_dump()
    assert canonical(asdict(Recipe())) == canonical(asdict(RecipeSpec().recipe()))
    assert Recipe().changed() == {}


def test_what_a_study_says_has_one_form():
    recipe = RecipeSpec(alpha=16.0, epochs=2.5, target_modules=["v_proj", "q_proj"], lora_config={"r": 2.0}).recipe()
    assert canonical(recipe.changed()) == (
        '{"alpha":16,"epochs":2.5,"lora_config":{"r":2},"target_modules":["q_proj","v_proj"]}'
    )


def test_a_run_comes_back_from_its_record():
    run = make_run({"rank": 8, "lora_config": {"bias": "lora_only"}})
    record = plain(run)
    assert record["recipe"] == asdict(run.recipe)
    assert run_of(**record) == run


def test_a_field_that_an_older_record_lacks_is_at_its_default():
    record = plain(make_run({"rank": 8}))
    del record["recipe"]["initialisation"]
    assert run_of(**record) == make_run({"rank": 8})
    with pytest.raises(TypeError, match="another"):
        run_of(**(record | {"recipe": {"another": 1}}))


def test_runs_and_members_need_no_pydantic():
    """Each process of a job imports them."""
    script = (
        "import sys\n"
        "from loragrid.study import batches, grid, members, micro_batch, recipe, steps, swiglu\n"
        "print(sorted({'pydantic', 'torch'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("rslora", "scale"), [(False, 2), (True, 8)])
def test_the_scale_of_the_update(rslora, scale):
    assert Recipe(rank=16, alpha=32, rslora=rslora).scale == scale


def test_a_pair_is_two_rows():
    assert [Recipe(objective="sft").examples(rows) for rows in (1, 8)] == [1, 8]
    assert [Recipe(objective="dpo").examples(rows) for rows in (1, 8)] == [1, 4]
    assert [Recipe(objective=objective).rows_per_example for objective in ("sft", "dpo")] == [1, 2]


@pytest.mark.parametrize(
    ("most", "batch_size", "gpus", "sizes"),
    [
        (8, 16, 1, [8, 4, 2, 1]), (8, 16, 4, [4, 2, 1]), (8, 12, 1, [6, 3, 1]), (8, 12, 2, [6, 3, 1]),
        (3, 8, 1, [2, 1]), (1, 8, 1, [1]), (8, 2, 4, [1]),
    ],
)  # fmt: skip
def test_examples_at_a_time_divide_a_gpus_share_of_the_batch_and_are_halved(most, batch_size, gpus, sizes):
    assert micro_batches(batch_size, gpus, most) == sizes


def test_pairs_at_a_time_are_halved_until_none_fits():
    assert [pairs_at_a_time(8, attempts) for attempts in range(4)] == [4, 2, 1, 0]
    assert [pairs_at_a_time(rows, 0) for rows in (1, 3)] == [1, 1]


def test_out_of_memory_answers_come_back_to_the_micro_batch_and_are_then_halved():
    assert [answers_at_a_time(4, attempts) for attempts in range(5)] == [(4, 64), (4, 4), (2, 2), (1, 1), (0, 0)]
    assert answers_at_a_time(100, 0) == (100, 100)


@pytest.mark.parametrize(("hidden", "width"), [(64, 192), (192, 512), (4096, 10944)])
def test_the_width_of_a_swiglu_layer(hidden, width):
    assert swiglu_width(hidden) == width
