"""Further settings of a training: which fields of TrainingArguments and LoraConfig a recipe may have.

The names are recorded here, since checking a study imports neither transformers nor PEFT; a test compares them with the
installed ones (transformers 5.23, PEFT 0.21).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from loragrid.study.problems import suggestion

REPORTS = ("tensorboard", "wandb", "mlflow", "trackio")
"""What a training can report to while it runs, by `report_to` in config/config.yaml: it changes no result."""

Kinds = tuple[type, ...]

_NUMBER: Kinds = (int, float)

TRAINING_ARGUMENTS: dict[str, Kinds] = {
    "adam_beta1": _NUMBER,
    "adam_beta2": _NUMBER,
    "adam_epsilon": _NUMBER,
    "dataloader_num_workers": (int,),
    "dataloader_persistent_workers": (bool,),
    "dataloader_prefetch_factor": (int,),
    "ddp_broadcast_buffers": (bool,),
    "ddp_bucket_cap_mb": (int,),
    "ddp_timeout": (int,),
    "label_smoothing_factor": _NUMBER,
    "lr_scheduler_kwargs": (dict,),
    "neftune_noise_alpha": _NUMBER,
    "torch_empty_cache_steps": (int,),
}
"""Fields of transformers' TrainingArguments that a recipe may set, with the types of their values."""

LORA_CONFIG: dict[str, Kinds] = {
    "alpha_pattern": (dict,),
    "bias": (str,),
    "exclude_modules": (str, list),
    "fan_in_fan_out": (bool,),
    "layers_pattern": (str, list),
    "layers_to_transform": (int, list),
    "lora_bias": (bool,),
    "rank_pattern": (dict,),
    "target_parameters": (list,),
}
"""Fields of PEFT's LoraConfig that a recipe may set, with the types of their values."""


def _are_whole(numbers: Any) -> bool:
    return all(type(number) is int and number >= 0 for number in (numbers if isinstance(numbers, list) else [numbers]))


def _are_ranks(pattern: Any) -> bool:
    return all(type(rank) is int and rank >= 1 for rank in pattern.values()) and _are_patterns(list(pattern))


def _are_scales(pattern: Any) -> bool:
    return all(isinstance(alpha, int | float) and alpha > 0 for alpha in pattern.values()) and _are_patterns(
        list(pattern)
    )


def _are_patterns(texts: Any) -> bool:
    try:
        return all(bool(text) and re.compile(text) for text in (texts if isinstance(texts, list) else [texts]))
    except (re.error, TypeError):
        return False


def _are_schedule_numbers(arguments: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in arguments.values())


RANGES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "adam_beta1": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "adam_beta2": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "adam_epsilon": ("above 0", lambda value: value > 0),
    "label_smoothing_factor": ("at least 0 and below 1", lambda value: 0 <= value < 1),
    "lr_scheduler_kwargs": ("numbers by name", _are_schedule_numbers),
    "neftune_noise_alpha": ("above 0", lambda value: value > 0),
    "bias": ("none, all or lora_only", lambda value: value in ("none", "all", "lora_only")),
    "exclude_modules": ("names, or a regular expression", _are_patterns),
    "layers_to_transform": ("whole numbers from 0", _are_whole),
    "rank_pattern": ("whole numbers from 1, by names or regular expressions of layers", _are_ranks),
    "alpha_pattern": ("numbers above 0, by names or regular expressions of layers", _are_scales),
}
"""Which values make sense, where the libraries would say so only in a training, or not at all."""

SCHEDULE_ARGUMENTS: dict[str, frozenset[str]] = {
    "linear": frozenset(),
    "cosine": frozenset({"num_cycles"}),
    "constant": frozenset(),
    "cosine_with_restarts": frozenset({"num_cycles"}),
    "cosine_with_min_lr": frozenset({"num_cycles", "min_lr", "min_lr_rate"}),
    "polynomial": frozenset({"lr_end", "power"}),
    "inverse_sqrt": frozenset({"timescale"}),
}
"""What `lr_scheduler_kwargs` may say of each schedule."""


def _because(reasons: dict[str, str]) -> dict[str, str]:
    return {name: reason for reason, names in reasons.items() for name in names.split()}


TRAINING_DECIDED = _because({
    "results are written where the run's name says": "output_dir run_name project",
    "say `epochs` in the recipe": "num_train_epochs",
    "say `max_steps` in the recipe": "max_steps",
    "say `learning_rate` in the recipe": "learning_rate",
    "say `schedule` in the recipe": "lr_scheduler_type",
    "say `warmup` in the recipe": "warmup_steps",
    "say `optimizer` in the recipe": "optim",
    "say `weight_decay` in the recipe": "weight_decay",
    "say `max_grad_norm` in the recipe": "max_grad_norm",
    "say `evaluations` in the recipe": "eval_strategy eval_steps eval_delay eval_on_start do_eval",
    "say `keep: best` and `patience` in the recipe": "load_best_model_at_end metric_for_best_model greater_is_better",
    "say `group_by_length` in the recipe": "train_sampling_strategy length_column_name",
    "say `seeds` in the study: order, initialisation and dropout have streams of their own": "seed data_seed",
    "say `batch_size` in the recipe, the effective batch, and `micro_batch` of the model": (
        "per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps auto_find_batch_size "
        "dataloader_drop_last average_tokens_across_devices"
    ),
    "say `gradient_checkpointing` of the model": (
        "gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing activation_checkpointing_kwargs"
    ),
    "say `gpus` and `sharded` of the model": (
        "fsdp fsdp_config deepspeed parallelism_config accelerator_config local_rank ddp_backend ddp_static_graph "
        "ddp_find_unused_parameters"
    ),
    "say `report_to` in config/config.yaml, since it changes no result": (
        "report_to trackio_space_id trackio_bucket_id trackio_static_space_id"
    ),
    "precision follows the device: bf16, fp16 or fp32": "bf16 fp16 bf16_full_eval fp16_full_eval tf32 use_cpu",
    "checkpoints are saved by minutes (`checkpoint_minutes` in config/config.yaml) and resumed exactly": (
        "save_strategy save_steps save_total_limit save_only_model save_on_each_node enable_jit_checkpoint "
        "resume_from_checkpoint ignore_data_skip restore_callback_states_from_checkpoint"
    ),
    "each step is logged, in training.jsonl": (
        "logging_strategy logging_steps logging_first_step logging_nan_inf_filter log_on_each_node log_level "
        "log_level_replica disable_tqdm include_num_input_tokens_seen skip_memory_metrics debug"
    ),
    "the validation loss is computed over all rows, by loragrid itself": (
        "prediction_loss_only eval_accumulation_steps eval_do_concat_batches eval_use_gather_object "
        "include_for_metrics batch_eval_metrics"
    ),
    "rows are formatted and chosen before the training": (
        "remove_unused_columns label_names dataloader_pin_memory dataloader_multiprocessing_context "
        "dataloader_in_order do_train do_predict"
    ),
    "nothing is uploaded by a training": (
        "push_to_hub hub_token hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision"
    ),
    "it is for optimisers that are not offered here": "optim_args",
    "it is for full fine-tuning; only LoRA's matrices are trained here": "optim_target_modules",
    "a training's exactness here rests on its own streams of random numbers": "full_determinism",
    "models are trained as transformers has them; other kernels were never tried with them here": (
        "torch_compile torch_compile_backend torch_compile_mode use_liger_kernel liger_kernel_config use_cache"
    ),
})  # fmt: skip
"""The other fields of TrainingArguments: why a recipe may not set them."""

LORA_DECIDED = _because({
    "say `rank` in the recipe": "r",
    "say `alpha` in the recipe": "lora_alpha",
    "say `dropout` in the recipe": "lora_dropout",
    "say `target_modules` in the recipe": "target_modules",
    "say `rslora` in the recipe": "use_rslora",
    "say `dora` in the recipe": "use_dora",
    "say `initialisation` in the recipe": "init_lora_weights",
    "say `end_token: train` of a chat": "trainable_token_indices",
    "it says what an adapter is, which loragrid writes": (
        "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode"
    ),
    "whole layers are not trained here": "modules_to_save ensure_weight_tying",
    "it changes the base, which stays as it is for others": "layer_replication loftq_config",
    "it starts from gradients or activations of the data, which takes a pass that is not made here": (
        "eva_config corda_config lora_ga_config"
    ),
    "it is another method than LoRA, never tried here": (
        "alora_invocation_tokens arrow_config kasa_config monteclora_config qalora_group_size use_bdlora use_qalora "
        "velora_config"
    ),
    "it is for models trained with Megatron": "megatron_config megatron_core",
    "it is for loading alone": "runtime_config",
})  # fmt: skip
"""The other fields of LoraConfig: why a recipe may not set them."""

_NAMES = {
    "training_arguments": ("TrainingArguments", TRAINING_ARGUMENTS, TRAINING_DECIDED),
    "lora_config": ("LoraConfig", LORA_CONFIG, LORA_DECIDED),
}

_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def argument_problems(fields: Mapping[str, Any], where: str) -> Iterator[str]:
    """What is wrong with the further settings among recipe fields, a line for each.

    Args:
        fields: recipe fields as read; wrong types of the two mappings themselves are told elsewhere.
        where: their key in the study file.
    """
    for part, (library, allowed, decided) in _NAMES.items():
        given = fields.get(part)
        for name, value in given.items() if isinstance(given, dict) else ():
            key = f"{where}.{part}.{name}"
            if name in decided:
                yield f"{key}: loragrid decides it: {decided[name]}"
            elif name not in allowed:
                valid = ", ".join(allowed)
                close = suggestion(str(name), [*allowed, *decided])
                yield f"{key}: {library} has no such field.{close} Valid here: {valid}."
            elif not _is_one_of(value, allowed[name]):
                kinds = [_IN_WORDS[kind] for kind in allowed[name] if not (kind is int and float in allowed[name])]
                yield f"{key}: must be {' or '.join(kinds)}, not {value!r}"
            else:
                yield from _out_of_range(key, name, value)


def _out_of_range(key: str, name: str, value: Any) -> Iterator[str]:
    for inner, number in _numbers(key, value):
        if not math.isfinite(number):
            yield f"{inner}: {number!r} is not a finite number"
            return
    if name in RANGES and not RANGES[name][1](value):
        yield f"{key}: must be {RANGES[name][0]}, not {value!r}"


def _numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    """All numbers in a value, each with its key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(key, inner)
    elif isinstance(value, int | float):
        yield key, value


def _is_one_of(value: Any, kinds: Kinds) -> bool:
    # To Python true is a number.
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def shown(value: Any) -> Any:
    """The value of a recipe field as tables show it: `adam_beta2=0.95` for a mapping, names for a list."""
    if isinstance(value, dict):
        return " ".join(f"{name}={shown(item)}" for name, item in sorted(value.items())) or "none"
    return " ".join(map(str, value)) if isinstance(value, list) else value
