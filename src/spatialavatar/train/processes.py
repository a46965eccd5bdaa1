"""One process, or many started by torchrun, each with its share of every batch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import nn

from spatialavatar.errors import UserError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """This process among all: rank of world, and the device it computes on."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this one writes files."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The items of a joint batch that are this process's.

        Raises:
            UserError: The batch cannot be divided evenly.
        """
        if batch % self.world:
            raise UserError(f"a batch of {batch} does not divide among {self.world} processes.")
        own = batch // self.world
        return range(self.rank * own, (self.rank + 1) * own)

    @torch.no_grad()
    def average_gradients_(self, module: nn.Module) -> None:
        """Every trainable parameter's gradient becomes the mean over the processes.

        By hand instead of by DistributedDataParallel, whose hooks do not know the second backward pass of the view
        penalty, and want every parameter used at every step.
        """
        if self.world == 1:
            return
        parameters = [value for value in module.parameters() if value.requires_grad]
        for value in parameters:
            if value.grad is None:
                value.grad = torch.zeros_like(value)
        flat = torch.cat([value.grad.flatten() for value in parameters if value.grad is not None])
        distributed.all_reduce(flat)
        flat /= self.world
        offset = 0
        for value in parameters:
            value.grad = flat[offset : offset + value.numel()].view_as(value).clone()
            offset += value.numel()

    def average(self, values: dict[str, float]) -> dict[str, float]:
        """The mean of each number over the processes; all must give the same names in the same order."""
        if self.world == 1 or not values:
            return values
        table = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(table)
        return dict(zip(values, (table / self.world).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process; all must ask."""
        if self.world == 1:
            return flag
        table = torch.tensor(float(flag), device=self.device)
        distributed.all_reduce(table, distributed.ReduceOp.MAX)
        return bool(table > 0)

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            distributed.barrier()


@contextlib.contextmanager
def started(device: str = "auto") -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone; the group is left in order at the end.

    Args:
        device: "auto" takes a CUDA device where there is one.
    """
    world, rank, local = (int(os.environ.get(n, d)) for n, d in (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", 0)))
    cuda = torch.cuda.is_available() if device == "auto" else device.startswith("cuda")
    chosen = torch.device(f"cuda:{local}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(rank, world, chosen)
        # Together: a process whose peer hangs up while it is at work is aborted by gloo.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
