"""Several processes of `torchrun` on one run.

In training each holds its share of every partition's features and sees all rows of a batch; in
harvesting, encoding and measuring each takes its share of the shards. Whatever is decided or measured over all goes
through a Group; with one process it changes nothing.

Torch is imported where processes talk to each other: who leads is asked for every error of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(eq=False)
class Group:
    """The processes that work together, as one of them sees them.

    Attributes:
        rank, size: which of how many it is.
        sent: bytes of all tensors that it has given to the others; grows with every exchange.
    """

    rank: int = 0
    size: int = 1
    sent: int = 0

    def share(self, count: int) -> slice:
        """Which of so many things, in their order, are this process's: as many as any other's, or one more or less."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    @property
    def leads(self) -> bool:
        """Whether this process writes what all have computed."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes."""
        return self._reduced(values, "SUM")

    def least(self, value: float) -> float:
        """The smallest of all processes' values."""
        return value if self.size == 1 else float(self._reduced(_tensor(value), "MIN"))

    def total(self, count: int) -> int:
        """The sum of a count over processes."""
        return count if self.size == 1 else int(self._reduced(_tensor(count), "SUM"))

    def gather(self, values: Tensor) -> list[Tensor]:
        """One-dimensional values of all processes, in their order; lengths may differ."""
        if self.size == 1:
            return [values]
        import torch
        import torch.distributed as dist

        lengths = self._lengths(values)
        padded = values.new_zeros(max(lengths))
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        self.sent += padded.nbytes
        dist.all_gather(gathered, padded)
        return [part[:length] for part, length in zip(gathered, lengths, strict=True)]

    def collect(self, own: Tensor) -> Tensor:
        """In the first process the rows of all, (all rows, …), in their order, on the CPU; elsewhere its own."""
        if self.size == 1:
            return own
        import torch
        import torch.distributed as dist

        lengths, on_device = self._lengths(own), own.detach().to(_device()).contiguous()
        if not self.leads:
            self.sent += on_device.nbytes
            if len(own):
                dist.send(on_device, 0)
            return own
        parts = [on_device.cpu()]
        for rank, length in enumerate(lengths[1:], start=1):
            theirs = on_device.new_empty(length, *own.shape[1:])
            if length:
                dist.recv(theirs, rank)
            parts.append(theirs.cpu())
        return torch.cat(parts)

    def from_first(self, values: Tensor) -> Tensor:
        """In all processes the first one's values; the others give a tensor of that shape and type."""
        if self.size == 1:
            return values
        import torch.distributed as dist

        on_device = values.to(_device(), copy=True)
        self.sent += on_device.nbytes if self.leads else 0
        dist.broadcast(on_device, 0)
        return on_device.to(values.device)

    def added(self, own: Tensor) -> Tensor:
        """In the first process the sum over processes, on the CPU; elsewhere its own."""
        if self.size == 1:
            return own.cpu()
        import torch.distributed as dist

        on_device = own.to(_device(), copy=True)
        self.sent += 0 if self.leads else on_device.nbytes
        dist.reduce(on_device, 0)
        return on_device.cpu() if self.leads else own

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def _lengths(self, values: Tensor) -> list[int]:
        """How many rows each process has."""
        import torch

        lengths = torch.zeros(self.size, dtype=torch.long)
        lengths[self.rank] = len(values)
        return self._reduced(lengths, "SUM").tolist()

    def _reduced(self, values: Tensor, operation: str) -> Tensor:
        if self.size == 1:
            return values
        import torch.distributed as dist

        on_device = values.to(_device(), copy=True)
        self.sent += on_device.nbytes
        dist.all_reduce(on_device, getattr(dist.ReduceOp, operation))
        return on_device.to(values.device)


ALONE = Group()


def leads() -> bool:
    """Whether this process speaks and writes for all that `torchrun` started, also before they have joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[Group]:
    """The group that `torchrun` started this process in, or this process alone; within another, its group."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    if dist.is_initialized():
        yield Group(dist.get_rank(), dist.get_world_size())
        return
    # One process may work for hours on what the others wait for.
    settings: dict[str, Any] = {"timeout": timedelta(days=30)}
    settings["backend"] = "nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        settings["device_id"] = _device()
    dist.init_process_group(**settings)
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where this process's collective operations run."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def _tensor(value: float) -> Tensor:
    import torch

    return torch.tensor(value)
