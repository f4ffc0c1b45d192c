"""Further settings of a recipe: what may be said, what loragrid decides, and that both are what the libraries have."""

import dataclasses
import inspect

import pytest

from loragrid.errors import StudyError
from loragrid.study.arguments import (
    LORA_CONFIG,
    LORA_DECIDED,
    SCHEDULE_ARGUMENTS,
    TRAINING_ARGUMENTS,
    TRAINING_DECIDED,
    shown,
)


def names(kind):
    return {field.name for field in dataclasses.fields(kind)}


def test_every_field_of_the_installed_libraries_is_either_allowed_or_decided():
    from peft import LoraConfig
    from transformers import TrainingArguments

    for kind, allowed, decided in [
        (TrainingArguments, TRAINING_ARGUMENTS, TRAINING_DECIDED),
        (LoraConfig, LORA_CONFIG, LORA_DECIDED),
    ]:
        assert not allowed.keys() & decided.keys()
        assert names(kind) == allowed.keys() | decided.keys()


def test_schedules_have_the_arguments_that_transformers_gives_them():
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION as FUNCTIONS

    ours = {"optimizer", "num_warmup_steps", "num_training_steps", "last_epoch"}
    for schedule, valid in SCHEDULE_ARGUMENTS.items():
        function = FUNCTIONS["constant_with_warmup" if schedule == "constant" else schedule]
        assert inspect.signature(function).parameters.keys() - ours == valid, schedule


def problems(place, recipe):
    with pytest.raises(StudyError) as error:
        place.small(recipe)
    return error.value.problems


@pytest.mark.parametrize(("recipe", "said"), [
    ("training_arguments: {adam_bta2: 0.9}",
     "training_arguments.adam_bta2: TrainingArguments has no such field. Did you mean 'adam_beta2'?"),
    ("training_arguments: {output_dir: out}",
     "training_arguments.output_dir: loragrid decides it: results are written"),
    ("training_arguments: {per_device_train_batch_size: 4}",
     "say `batch_size` in the recipe, the effective batch, and `micro_batch`"),
    ("training_arguments: {seed: 1}", "training_arguments.seed: loragrid decides it: say `seeds` in the study"),
    ("training_arguments: {adam_beta2: high}", "training_arguments.adam_beta2: must be a number, not 'high'"),
    ("training_arguments: {adam_beta2: true}", "training_arguments.adam_beta2: must be a number, not True"),
    ("training_arguments: {adam_beta2: 1.5}",
     "training_arguments.adam_beta2: must be at least 0 and below 1, not 1.5"),
    ("training_arguments: {neftune_noise_alpha: -5}", "neftune_noise_alpha: must be above 0, not -5"),
    ("training_arguments: {label_smoothing_factor: 3}", "must be at least 0 and below 1, not 3"),
    ("training_arguments: {adam_epsilon: .inf}", "adam_epsilon: inf is not a finite number"),
    ("schedule: cosine_with_min_lr, training_arguments: {lr_scheduler_kwargs: {min_lr: x}}",
     "lr_scheduler_kwargs: must be numbers by name, not {'min_lr': 'x'}"),
    ("lora_config: {bias: wrong}", "lora_config.bias: must be none, all or lora_only, not 'wrong'"),
    ("lora_config: {rank_pattern: {q_proj: 0}}", "lora_config.rank_pattern: must be whole numbers from 1, by names or"),
    ("lora_config: {exclude_modules: '*['}", "lora_config.exclude_modules: must be names, or a regular expression"),
    ("lora_config: {alpha_pattern: {q_proj: .nan}}", "lora_config.alpha_pattern.q_proj: nan is not a finite number"),
    ("lora_config: {r: 4}", "lora_config.r: loragrid decides it: say `rank` in the recipe"),
    ("lora_config: {rank_patern: {}}", "Did you mean 'rank_pattern'?"),
    ("lora_config: {layers_to_transform: [0]}", "lora_config.layers_to_transform: needs `target_modules` by name"),
    ("training_arguments: {lr_scheduler_kwargs: {power: 2}}",
     "the schedule 'linear' does not know it. Valid: none."),
    ("schedule: cosine_with_min_lr", "schedule: `cosine_with_min_lr` needs `training_arguments:"),
    ("initialisation: pissa", "initialisation: `pissa` begins with a part of a base of 16 or 32 bits"),
    ("patience: 4", "patience: 4 validations without a lower loss can never come before the end"),
    ("initialisation: olora, dora: true", "initialisation: 'olora' is saved as plain LoRA, which DoRA is not"),
    ("initialisation: olora, lora_config: {rank_pattern: {q_proj: 2}}",
     "lora_config.rank_pattern: does not go together"),
])  # fmt: skip
def test_what_a_recipe_may_not_say_is_told_at_the_studys_check(place, recipe, said):
    (problem,) = problems(place, f"recipe: {{{recipe}}}")
    assert said in problem


@pytest.mark.parametrize("field", ["alpha", "learning_rate", "weight_decay", "max_grad_norm", "loraplus", "epochs"])
def test_a_number_without_end_is_refused_with_all_else(place, field):
    first, second = sorted(problems(place, f"recipe: {{{field}: .inf, rank: 0}}"))
    assert field in first + second
    assert "finite" in first + second
    assert "rank" in first + second


def test_where_further_settings_stand_is_told(place):
    text = """
    grid: {training_arguments: [{adam_beta2: 0.9}, {fp16: true}]}
    points: [{name: own, lora_config: {lora_alpha: 3}}]
    """
    first, second = problems(place, text)
    assert first.startswith("grid.training_arguments[1].fp16: loragrid decides it: precision follows the device")
    assert second.startswith("points[0].lora_config.lora_alpha: loragrid decides it: say `alpha`")


def test_they_are_part_of_the_key_and_an_empty_mapping_is_none(place):
    def keys(recipe):
        return {run.key for run in place.small(f"recipe: {{{recipe}}}").runs.values()}

    plain = keys("rank: 16")
    assert keys("training_arguments: {}, lora_config: {}") == plain
    assert keys("training_arguments: {adam_beta2: 0.9}") != plain
    assert keys("training_arguments: {neftune_noise_alpha: 5}") == keys(
        "training_arguments: {neftune_noise_alpha: 5.0}"
    )


def test_a_child_cannot_go_on_with_what_is_saved_with_twice_its_rank(place):
    text = """
    points:
      - {name: first, initialisation: olora}
      - {name: next, parent: first, initialisation: olora}
    """
    (problem,) = problems(place, text)
    assert "points[1].parent: the adapter of 'first' begins with a part of the base" in problem


def test_they_are_shown_as_settings():
    assert shown({"b": 2, "a": [0, 1]}) == "a=0 1 b=2"
    assert shown({}) == "none"
    assert shown(["q_proj", "v_proj"]) == "q_proj v_proj"
    assert shown(3) == 3
