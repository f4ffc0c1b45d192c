"""The processes that train one run together, and what they have to agree on."""

import os

import torch
import torch.distributed as dist


class Ranks:
    """This process among those that train together; alone where no launcher started it.

    Rank and size come from the process group that accelerate has opened. What is exchanged here lies on
    the CPU and is small, so it goes through gloo beside the gradients.
    """

    def __init__(self) -> None:
        together = dist.is_available() and dist.is_initialized()
        self.size = dist.get_world_size() if together else 1
        self.rank = dist.get_rank() if together else 0
        self._group = dist.new_group(backend="gloo") if self.size > 1 else None

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return self.most(int(flag)) > 0

    def most(self, value: int) -> int:
        """The largest value of all ranks."""
        if self.size == 1:
            return value
        tensor = torch.tensor([value])
        dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self._group)
        return int(tensor)

    def sum(self, values: list[float]) -> list[float]:
        """Sums over all ranks, in double precision."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self._group)
        sums: list[float] = tensor.tolist()
        return sums

    def gather(self, states: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The states of every rank, `<name>-<rank>` each. A name has tensors of one shape on all ranks."""
        gathered: dict[str, torch.Tensor] = {}
        for name, tensor in states.items():
            every = [torch.empty_like(tensor) for _ in range(self.size)]
            if self.size > 1:
                dist.all_gather(every, tensor, group=self._group)
            else:
                every = [tensor]
            gathered |= {f"{name}-{rank}": every[rank] for rank in range(self.size)}
        return gathered

    def own(self, gathered: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """This rank's part of what `gather` made; empty if it was made by fewer ranks."""
        end = f"-{self.rank}"
        return {name.removesuffix(end): tensor for name, tensor in gathered.items() if name.endswith(end)}

    def wait(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier(group=self._group)


def world_size() -> int:
    """Number of processes that the launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))
