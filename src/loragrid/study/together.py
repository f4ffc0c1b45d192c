"""Fields of a recipe that are good each by itself and do not go together."""

from collections.abc import Iterator

from loragrid.study.arguments import SCHEDULE_ARGUMENTS
from loragrid.study.recipe import Recipe

SUBTRACTED = ("pissa", "olora")
"""Initialisations that begin with a part of the base, which is taken away from it while the adapter is trained."""

BESIDE_MATRICES = ("lora_bias", "bias", "target_parameters")
"""Fields of PEFT's LoraConfig by which an adapter is more than products of matrices beside linear layers."""


def asks_for(value: object) -> bool:
    """Whether such a field asks for anything."""
    return bool(value) and value != "none"


def clashes(recipe: Recipe) -> Iterator[str]:
    """What does not go together, `key: reason` for each.

    Args:
        recipe: a whole recipe: what it has from the study, the grid and a point.
    """
    begins = recipe.initialisation
    if begins == "pissa" and recipe.method == "qlora":
        yield (
            "initialisation: `pissa` begins with a part of a base of 16 or 32 bits; over an NF4 base (`method: qlora`) "
            "use `olora` or `default`"
        )
    if recipe.warmup and recipe.max_steps == 1:
        yield (
            f"warmup: {recipe.warmup:g} with `max_steps: 1`: the first step of a warm-up has a learning rate of 0, so "
            "that nothing would be learnt; set `warmup: 0` or take more steps"
        )
    if recipe.objective == "sft" and recipe.beta != Recipe.beta:
        yield "beta: belongs to DPO; give `objective: dpo`, or leave it out"
    if recipe.objective == "dpo" and recipe.mask != "answers":
        yield "mask: DPO compares answers, and nothing else has a loss; leave it out"
    if recipe.adapter == "stack":
        yield from _clashes_of_stacks(recipe)
    if recipe.objective == "dpo" and "label_smoothing_factor" in recipe.training_arguments:
        yield "training_arguments.label_smoothing_factor: is of losses over tokens, and DPO has none"
    if begins in SUBTRACTED:
        if recipe.dora:
            yield f"initialisation: {begins!r} is saved as plain LoRA, which DoRA is not; drop one of the two"
        for name in ("rank_pattern", "alpha_pattern", *BESIDE_MATRICES):
            if asks_for(recipe.lora_config.get(name)):
                yield f"lora_config.{name}: does not go together with `initialisation: {begins}`"
    for name in ("layers_to_transform", "layers_pattern"):
        if name in recipe.lora_config and recipe.target_modules == "all-linear":
            yield f"lora_config.{name}: needs `target_modules` by name, e.g. [q_proj, v_proj], not `all-linear`"
    if recipe.patience is not None and recipe.evaluations != "epoch" and recipe.patience >= recipe.evaluations:
        yield (
            f"patience: {recipe.patience} validations without a lower loss can never come before the end of a training "
            f"with {recipe.evaluations} `evaluations`; give more of these, or less patience"
        )
    given = recipe.training_arguments.get("lr_scheduler_kwargs", {})
    valid = SCHEDULE_ARGUMENTS[recipe.schedule]
    for name in given:
        if name not in valid:
            takes = ", ".join(sorted(valid)) or "none"
            yield (
                f"training_arguments.lr_scheduler_kwargs.{name}: the schedule {recipe.schedule!r} does not know it. "
                f"Valid: {takes}."
            )
    if recipe.schedule == "cosine_with_min_lr" and len({"min_lr", "min_lr_rate"} & given.keys()) != 1:
        yield (
            "schedule: `cosine_with_min_lr` needs `training_arguments: {lr_scheduler_kwargs: {min_lr_rate: 0.1}}`, or "
            "`min_lr`"
        )


def _clashes_of_stacks(recipe: Recipe) -> Iterator[str]:
    """What an adapter that is saved together with the one below it cannot be."""
    if recipe.dora:
        yield "dora: an adapter over another one is saved as plain LoRA, which DoRA is not; use `adapter: continue`"
    if recipe.initialisation in SUBTRACTED:
        yield f"initialisation: {recipe.initialisation!r} does not go together with `adapter: stack`"
    for name in BESIDE_MATRICES:
        if asks_for(recipe.lora_config.get(name)):
            yield f"lora_config.{name}: does not go together with `adapter: stack`"
