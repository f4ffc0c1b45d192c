"""A recipe as transformers' TrainingArguments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loragrid.jobs.environment import stream
from loragrid.modeling.load import compute_dtype, device
from loragrid.study.arguments import TRAINING_ARGUMENTS
from loragrid.study.members import TrainMember
from loragrid.training.ranks import world_size

OPTIMIZERS = {"adamw": "adamw_torch", "adamw_8bit": "adamw_bnb_8bit", "paged_adamw_32bit": "paged_adamw_32bit"}


def arguments(member: TrainMember, micro: int, work: Path, steps: int, report_to: Sequence[str] = ()) -> dict[str, Any]:
    """What the configurations of all methods have in common.

    Args:
        member: of a batch.
        micro: examples that a device takes at a time.
        work: the run's work folder.
        steps: optimiser steps of the whole training.
        report_to: names of what draws curves while it runs.
    """
    run, recipe = member.run, member.run.recipe
    on_gpu = device().type == "cuda"
    half = str(compute_dtype()).removeprefix("torch.")
    return {
        "output_dir": str(work),
        "max_steps": steps,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": recipe.batch_size // world_size() // micro,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        "warmup_steps": recipe.warmup,
        "optim": OPTIMIZERS[recipe.optimizer],
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": half == "bfloat16",
        "fp16": half == "float16",
        "use_cpu": not on_gpu,
        # Every adapter is used in every step; looking for those that are not would cost a pass over the graph.
        "ddp_find_unused_parameters": False,
        "activation_checkpointing": member.model.recomputes(on_gpu=on_gpu),
        "seed": stream(run.seed, "dropout"),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # by the clock instead
        "eval_strategy": "no",  # at chosen steps instead
        "disable_tqdm": True,
        "report_to": list(report_to) or "none",
        "dataloader_pin_memory": on_gpu,
        **{name: _number(name, value) for name, value in recipe.training_arguments.items()},
    }


def _number(name: str, value: Any) -> Any:
    # Recipes have whole numbers as integers, and Adam takes no pair of betas of which one is an integer.
    return float(value) if float in TRAINING_ARGUMENTS.get(name, ()) and isinstance(value, int) else value
