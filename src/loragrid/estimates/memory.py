"""How much memory training and generation need: what is held at the moment of the most, term by term.

The terms follow from the sources of transformers 5.23 (Llama), PEFT 0.21, TRL 1.16 and bitsandbytes 0.50 as they train
here. Those marked *measured* were calibrated on a CPU with benchmarks/estimates.py, on other settings than those that
the estimates are compared with there.
"""

import math
from dataclasses import dataclass

from loragrid.estimates.devices import Device
from loragrid.modeling.at_a_time import RowsAtATime, cache_bytes, layer_bytes, room_for_rows
from loragrid.modeling.dimensions import Dimensions
from loragrid.study.recipe import Recipe

NF4_SCALES = 1 / 64 + 4 / (64 * 256)
"""Bytes a weight: an 8-bit scale for each block of 64, a 32-bit one for 256 of these (double quantisation, Dettmers et
al. 2023, section 3)."""

NF4_BYTES = 0.5 + NF4_SCALES
"""Bytes a weight, with its 4 bits."""

MOMENTS = {"adamw": 8.0, "adamw_8bit": 2.0, "paged_adamw_32bit": 8.0}
"""Bytes of Adam's two moments for each trained parameter."""

HEAD_COLUMNS, HEAD_ROWS = 32_768, 4_096
"""The tile in which TRL's head computes logits (trl/trainer/utils.py, trl/kernels/chunked_logprob.py)."""

HEAD_COPIES = 8
"""Tiles of logits that TRL's head holds at once without Triton, in its backward pass (`_backward_tile`; *measured*:
8.0)."""

MMAPPED = 32 * 2**20
"""Blocks from this size on are given back to the system when freed; smaller ones stay in the heap (mallopt(3),
M_MMAP_THRESHOLD: the upper limit of the dynamic threshold)."""

HEAP = 2.1
"""How much the heap outgrows the activations that it holds (*measured*: 1.6 to 2.4). Of the logits it does not."""

HOLES = 0.5
"""Share of the unpacked weights that stays in the heap as holes (*measured*): a weight that is unpacked for one
product and freed leaves its place to smaller blocks, which are kept, so that the next one needs a new place."""

LOADING = 16
"""Matrices in 32 bits, of the largest size, that are held while NF4 weights are packed on a CPU (*measured*)."""

ROW_COPIES = 3
"""Matrices of the embedding's size, beside a gradient in 32 bits, that are held where rows for an added token are
trained: PEFT puts the rows into a copy, and gradients are those of the copy (*measured*: 2.8 to 3.5)."""

TRAINER = 26 * 2**20
"""Bytes that the trainer's libraries take on top of those that generation needs (*measured*)."""

LOGITS = 12
"""Bytes a logit while the likelihood of references is computed: in 32 bits, transposed, and its logarithm."""

ALLOCATOR = 1.1
"""Assumed: what PyTorch's CUDA allocator holds over what is in use, since its blocks do not fit exactly."""

SHARD = 5 * 10**9
"""Usual size of one file of weights on the hub; the host reads one at a time on the way to a GPU."""


@dataclass(frozen=True)
class Memory:
    """Bytes that a job holds at most.

    Args:
        host: of the machine, the GPU's apart.
        gpu: of each GPU; None on a CPU.
    """

    host: float
    gpu: float | None


def training_memory(
    size: Dimensions,
    device: Device,
    precision: str,
    recipe: Recipe,
    *,
    micro_batch: int,
    length: int,
    file_bytes: float,
    shards: int = 1,
    trains_rows: bool = False,
    recomputes: bool | None = None,
) -> Memory:
    """Memory of one training's process.

    Args:
        size: the base model.
        device: what it is trained on.
        precision: of the base weights.
        recipe: its recipe.
        micro_batch: rows at a time on one device.
        length: tokens of the longest row.
        file_bytes: bytes of a weight in the model's files.
        shards: GPUs that the base is spread over.
        trains_rows: whether rows for an added token are trained, too.
        recomputes: whether activations are computed again for the backward pass. Default: on a GPU.
    """
    recomputes = device.is_gpu if recomputes is None else recomputes
    tokens = micro_batch * length
    embedding = size.vocabulary * size.hidden if trains_rows else 0
    adapter = size.adapter(recipe.rank, recipe.target_modules)
    trained = adapter * (4 + 4 + MOMENTS[recipe.optimizer])  # weights and gradients are float32 everywhere
    if device.is_gpu:
        half = device.half
        # Recomputed activations: the input of each layer, and all of the one that is in its backward pass (Chen et al.
        # 2016, section 4), with the inputs of both normalisations in 32 bits.
        layer = half * sum(_activations(size, recipe, micro_batch, length, noise=1 / half))
        layer += 2 * tokens * size.hidden * 4
        kept = size.layers * tokens * size.hidden * half if recomputes else (size.layers - 1) * layer
        head = min(tokens, HEAD_ROWS) * HEAD_COLUMNS * half + tokens * size.hidden * (4 + half)
        head += embedding * (ROW_COPIES * half + 4)
        unpacked = 2 * _largest(size) * half if precision == "nf4" else 0
        working = kept + layer + max(head, unpacked)
        autocast = adapter * half
        whole = _weights(size, precision, device)
        weights = _share(size, precision, device, shards) if shards > 1 else whole
        # What is spread goes from the host to the GPUs layer by layer, so each process has all of it there first.
        host = whole if shards > 1 else 0
        return Memory(
            device.host_memory + min(size.parameters * file_bytes, SHARD) + host,
            device.context + ALLOCATOR * (weights + trained + autocast + working),
        )
    weights = _weights_on_cpu(size, precision)
    activations = sum(_in_heap(4 * block) for block in _activations(size, recipe, micro_batch, length, noise=1))
    head = HEAD_COPIES * 4 * min(tokens, HEAD_ROWS) * min(size.vocabulary, HEAD_COLUMNS)
    head += embedding * (ROW_COPIES * 4 + 4)
    unpacked = 2 * _largest(size) * 4 if precision == "nf4" else 0
    kept = size.layers * activations
    if recomputes:
        kept = activations + size.layers * _in_heap(4 * tokens * size.hidden)
    working = kept + max(head, unpacked) + _holes(size, precision)
    held = weights + max(trained + working, _loading(size, precision))
    return Memory(device.host_memory + TRAINER + held, None)


def generation_memory(
    size: Dimensions,
    device: Device,
    precision: str,
    adapter: int,
    *,
    of_rows: float,
    batch: int,
    prompt: int,
    answer: int,
    file_bytes: float,
    gpus: int = 1,
    of_choices: bool = False,
) -> Memory:
    """Memory of generation and of the likelihood of references or choices.

    Args:
        size: the base model.
        device: what it runs on.
        precision: of the base weights.
        adapter: parameters of the adapter, 0 without one.
        of_rows: bytes of the rows that are answered at a time, as of `RowsAtATime`; 0 where none is.
        batch: references, or choices, at a time.
        prompt: tokens of the longest prompt.
        answer: tokens of the longest answer.
        file_bytes: bytes of a weight in the model's files.
        gpus: that the layers are divided among.
        of_choices: whether choices are compared: lm-evaluation-harness has the logits of all of a prompt, and their
            logarithms in 32 bits.
    """
    number = _bytes_of_a_number(precision, device)
    length = prompt + answer
    # The cache is made, too, though nothing goes on from it.
    cache, layer = length * cache_bytes(size, number), length * layer_bytes(size, length, number)
    compared = layer + max(cache, answer * size.vocabulary * (number + LOGITS))
    if of_choices:
        compared = cache + max(layer, length * size.vocabulary * (number + 4))
    unpacked = 2 * _largest(size) * number if precision == "nf4" else 0
    working = max(of_rows, batch * compared) + unpacked
    if device.is_gpu:
        held = _held(size, device, precision, adapter, gpus) + ALLOCATOR * working
        return Memory(device.host_memory + min(size.parameters * file_bytes, SHARD), held)
    weights = _weights_on_cpu(size, precision) + 4 * adapter
    return Memory(device.host_memory + weights + max(working, _loading(size, precision)), None)


def rows_at_a_time(
    size: Dimensions, device: Device, precision: str, adapters: int, *, least: int, most: int, gpus: int = 1
) -> RowsAtATime:
    """How many prompts jobs will find the memory large enough for.

    Args:
        size: the base model.
        device: what it runs on.
        precision: of the base weights.
        adapters: parameters of all adapters that share a batch.
        least: as of `RowsAtATime`.
        most: as of `RowsAtATime`.
        gpus: that the layers are divided among.
    """
    left = None if device.memory is None else device.memory - _held(size, device, precision, adapters, gpus)
    return RowsAtATime(size, _bytes_of_a_number(precision, device), room_for_rows(left), least, most)


def _held(size: Dimensions, device: Device, precision: str, adapter: int, gpus: int) -> float:
    """What answering holds on each GPU beside its rows."""
    layers = math.ceil(size.layers / gpus) / size.layers
    return device.context + ALLOCATOR * layers * (_weights(size, precision, device) + 4 * adapter)


def _bytes_of_a_number(precision: str, device: Device) -> int:
    return device.half if device.is_gpu and precision != "32bit" else 4


def _weights(size: Dimensions, precision: str, device: Device) -> float:
    number = 4 if precision == "32bit" else device.half
    linear = NF4_BYTES if precision == "nf4" else number
    return size.linear * linear + size.embeddings * number


def _share(size: Dimensions, precision: str, device: Device, shards: int) -> float:
    """What training holds on each GPU of a base that is spread over several.

    Embeddings and the scales of NF4 are on each. Two layers are whole at a time: the one that computes, and the next,
    which is gathered meanwhile.
    """
    number = 4 if precision == "32bit" else device.half
    spread, on_each = (0.5, NF4_SCALES) if precision == "nf4" else (number, 0)
    linear = size.linear * (spread / shards + on_each + 2 * spread / size.layers)
    return linear + size.embeddings * number


def _weights_on_cpu(size: Dimensions, precision: str) -> float:
    """Of the files nothing is held once the weights are read (*measured*)."""
    return size.linear * NF4_BYTES + size.embeddings * 4 if precision == "nf4" else size.parameters * 4


def _activations(size: Dimensions, recipe: Recipe, micro_batch: int, length: int, *, noise: float) -> list[float]:
    """Numbers that one layer keeps for its backward pass, block by block.

    Of each token: inputs of both normalisations and their outputs, queries, keys, values (repeated for grouped
    queries), the attention's output (8 × hidden); gate, its activation, the up-projection and their product
    (4 × intermediate); the LoRA bottlenecks; its row of the attention mask. With dropout each adapted layer keeps its
    own input and the noise, in place of inputs that several layers share.

    Args:
        size: the model.
        recipe: rank, target_modules and dropout.
        micro_batch: rows at a time.
        length: tokens of each.
        noise: of how many numbers' size the noise of dropout is.
    """
    tokens = micro_batch * length
    adapted = size.adapted(recipe.target_modules)
    blocks: list[float] = [tokens * size.hidden] * 8
    blocks += [tokens * size.intermediate] * (4 if size.gated else 3)
    blocks += [tokens * recipe.rank] * len(adapted) + [tokens * length]
    if recipe.dropout:
        # Instead of the outputs of both normalisations, the attention's output and the product.
        blocks = blocks[3:8] + blocks[9:]
        blocks += [tokens * inputs for inputs, _ in adapted]
        blocks += [tokens * inputs * noise for inputs, _ in adapted]
    return blocks


def _in_heap(block: float) -> float:
    return block * (HEAP if block < MMAPPED else 1)


def _holes(size: Dimensions, precision: str) -> float:
    if precision != "nf4":
        return 0
    matrices = [4 * inputs * outputs for inputs, outputs in size.matrices.values()]
    return HOLES * size.layers * sum(matrix for matrix in matrices if matrix < MMAPPED)


def _largest(size: Dimensions) -> int:
    return max(inputs * outputs for inputs, outputs in size.matrices.values())


def _loading(size: Dimensions, precision: str) -> float:
    return LOADING * 4 * _largest(size) if precision == "nf4" else 0
