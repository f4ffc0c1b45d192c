"""How long training and generation take: operations over a sustained rate, and what has to be done beside them.

A rough model, and on purpose a short one: as soon as a run of the same model has been measured, its time counts (see
loragrid/estimates/measured.py). The constants of each device stand with their sources in loragrid/estimates/devices.py;
those marked *measured* here were calibrated on a CPU as described in loragrid/estimates/memory.py.
"""

import math

from loragrid.estimates.devices import Device
from loragrid.estimates.workload import GenerationWork, TrainingWork
from loragrid.modeling.dimensions import Dimensions
from loragrid.study.recipe import Recipe

PADDING = 1.1
"""Tokens with padding over tokens, for rows grouped by length (*measured*: 1.05 to 1.15)."""

UNGROUPED = 1.5
"""The same for rows that are not."""

HEAD_TRAFFIC = 4.6
"""Time of the element-wise operations on a logit of TRL's head without Triton, in those on a kept activation."""

TRAINER_SECONDS = 2.0
"""What a training takes beside its steps: making the trainer, the first step, saving (*measured* on a CPU)."""


def training_seconds(
    size: Dimensions,
    device: Device,
    precision: str,
    recipe: Recipe,
    work: TrainingWork,
    *,
    micro_batch: int,
    gpus: int,
    recomputes: bool | None = None,
) -> float:
    """Time of one training from its loading to its last file, in seconds.

    Args:
        size: the base model.
        device: what it is trained on.
        precision: of the base weights.
        recipe: its recipe.
        work: rows, tokens and steps.
        micro_batch: rows at a time on one device.
        gpus: devices that share each step.
        recomputes: whether activations are computed again for the backward pass. Default: on a GPU.
    """
    recomputes = device.is_gpu if recomputes is None else recomputes
    padding = (PADDING if recipe.group_by_length else UNGROUPED) if micro_batch > 1 else 1
    tokens = work.tokens * padding / gpus
    micro_batches = work.steps * recipe.batch_size / (micro_batch * gpus)
    # Forward, gradients of the activations; and forward again where these are recomputed.
    passes = 3 if recomputes else 2
    adapter = size.adapter(recipe.rank, recipe.target_modules)
    train = _passes(size, device, precision, tokens, work.length, passes, micro_batches)
    # The head computes its logits again for its gradient. The adapter has gradients of its own.
    train += tokens * (2 * size.vocabulary * size.hidden + 2 * (passes + 1) * adapter) / device.rate
    train += _elementwise(size, device, tokens)
    train += micro_batches * size.layers * device.layer_seconds
    batches = work.validation_rows / micro_batch
    validate = _passes(size, device, precision, work.validation_tokens * padding, work.length, 1, batches)
    validate += batches * size.layers * device.layer_seconds / passes
    return TRAINER_SECONDS + loading_seconds(size, device) + train + work.validations * validate


def generation_seconds(size: Dimensions, device: Device, precision: str, work: GenerationWork, *, batch: int) -> float:
    """Time of answering all prompts at the greatest length allowed, in seconds.

    Args:
        size: the base model.
        device: what it runs on.
        precision: of the base weights.
        work: prompts and tokens.
        batch: prompts at a time.
    """
    batches = math.ceil(work.prompts / batch)
    prompts = work.prompts * work.prompt_tokens * PADDING
    # One token after the other: all weights are read, and unpacked, for each.
    steps = batches * work.answer_tokens
    number = 4 if precision == "32bit" else device.half
    read = (size.vocabulary * size.hidden + (0 if precision == "nf4" else size.linear)) * number
    unpacked = size.linear if precision == "nf4" else 0
    step = read / device.bandwidth + unpacked / device.dequantised + size.layers * device.token_seconds
    multiplied = 2 * batch * (size.linear + size.vocabulary * size.hidden) / device.rate
    answers = steps * (step + multiplied)
    return _passes(size, device, precision, prompts, work.prompt_tokens, 1, batches) + answers


def likelihood_seconds(size: Dimensions, device: Device, precision: str, work: GenerationWork, *, batch: int) -> float:
    """Time of the likelihoods of all references, in seconds."""
    batches = math.ceil(work.prompts / batch)
    tokens = work.prompts * (work.prompt_tokens + work.answer_tokens / 2) * PADDING
    seconds = _passes(size, device, precision, tokens, work.prompt_tokens, 1, batches)
    return seconds + batches * size.layers * device.token_seconds


def loading_seconds(size: Dimensions, device: Device) -> float:
    """Time of reading the weights and packing them, in seconds."""
    return size.parameters / device.loaded


def _passes(
    size: Dimensions,
    device: Device,
    precision: str,
    tokens: float,
    length: float,
    passes: int,
    micro_batches: float,
) -> float:
    """Matrix products of so many passes over so many tokens, and the unpacking of weights for them."""
    # 2 operations a weight and token (Kaplan et al. 2020, section 2.1), and attention over all columns: the mask of
    # the padding keeps its kernels from leaving out what lies above the diagonal.
    attention = 4 * size.layers * size.heads * size.head_width * length
    operations = tokens * passes * (2 * (size.linear + size.vocabulary * size.hidden) + attention)
    unpacked = micro_batches * passes * size.linear if precision == "nf4" else 0
    return operations / device.rate + unpacked / device.dequantised


def _elementwise(size: Dimensions, device: Device, tokens: float) -> float:
    """Time of everything in training that is no product, which goes with what is kept for the backward pass."""
    number = device.half if device.is_gpu else 4
    kept = number * tokens * size.layers * (8 * size.hidden + 4 * size.intermediate)
    logits = 0 if device.is_gpu else number * tokens * size.vocabulary * HEAD_TRAFFIC
    return (kept + logits) / device.elementwise
