"""A frozen base spread over the GPUs that train together (FSDP2), for models that are too big for one GPU.

Each rank keeps its share of every decoder layer, and gathers the others' for as long as it computes with that layer.
What training changes, the adapter, stays whole on every rank and its gradients are averaged as without sharding (DDP),
so that optimiser, clipping and checkpoints know nothing of shards: a run may go on sharded or not, on any number of
GPUs. Embeddings and head stay whole, too; TRL's head computes with its weights outside of any module that could gather
them.

accelerate's own preparation for FSDP2 is not used: it shards the adapter as well, and only on GPUs, where nothing of
this could be tested. It refuses to wrap a sharded model in DDP, which `data_parallel` therefore does.
"""

from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from peft import PeftModel
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from loragrid.errors import UserError
from loragrid.modeling.load import device, trainable_parameters


def shard(model: PeftModel) -> None:
    """Spread a base over the ranks and put the rest of the model onto this rank's device.

    Args:
        model: base on the CPU, with a trainable adapter. Its layers go to the device one by one, so that no device
            ever holds the whole base.

    Raises:
        UserError: transformers does not say which of its modules are layers.
    """
    base: Any = model.get_base_model()
    here = device()
    mesh = init_device_mesh(here.type, (dist.get_world_size(),))
    adapter = set(trainable_parameters(model).values())
    layers = [module for module in base.modules() if type(module).__name__ in (base._no_split_modules or ())]
    if not layers:
        raise UserError(f"sharded: {base.config.model_type} does not say what its layers are, and cannot be spread")
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=adapter)
    # With a common root the layers share their streams, and a layer is gathered while the one before it computes.
    whole = {parameter for parameter in base.parameters() if not isinstance(parameter, DTensor)}
    fully_shard(base.base_model, mesh=mesh, ignored_params=whole)
    model.to(here)


def is_sharded(model: torch.nn.Module) -> bool:
    """Whether `shard` has spread the model."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def data_parallel(model: torch.nn.Module, accelerator: Accelerator) -> DistributedDataParallel:
    """Let gradients of a sharded model's adapter be averaged over the ranks; what accelerate does for other models."""
    # Prepared as if for evaluation: with autocast, and without DDP.
    model = accelerator.prepare_model(model, device_placement=False, evaluation_mode=True)
    shares = [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, shares)
    handler = accelerator.ddp_handler
    return DistributedDataParallel(model, **(handler.to_kwargs() if handler else {}))
