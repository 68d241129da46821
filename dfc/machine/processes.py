"""Several processes of `torchrun` on one run.

In training each holds the whole crosscoder and takes its share of every batch's rows; in
harvesting each takes its share of the shards. Whatever is decided or measured over all goes
through a Group; with one process it changes nothing.

Torch is imported where processes talk to each other: who leads is asked for every error of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Group:
    """The processes that train together, as one of them sees them."""

    rank: int = 0
    size: int = 1

    @property
    def share(self) -> slice:
        """This process's rows of every batch."""
        return slice(self.rank, None, self.size)

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

        lengths = torch.zeros(self.size, dtype=torch.long)
        lengths[self.rank] = len(values)
        lengths = self._reduced(lengths, "SUM")
        padded = values.new_zeros(int(lengths.max()))
        padded[: len(values)] = values
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        return [part[:length] for part, length in zip(gathered, lengths.tolist(), strict=True)]

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            import torch.distributed as dist

            dist.barrier()

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over processes."""
        if self.size > 1:
            import torch.distributed as dist

            for parameter in parameters:
                dist.all_reduce(parameter.grad)

    def _reduced(self, values: Tensor, operation: str) -> Tensor:
        if self.size == 1:
            return values
        import torch.distributed as dist

        on_device = values.to(_device(), copy=True)
        dist.all_reduce(on_device, getattr(dist.ReduceOp, operation))
        return on_device.to(values.device)


ALONE = Group()


def leads() -> bool:
    """Whether this process speaks and writes for all that `torchrun` started, also before they have joined."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined() -> Iterator[Group]:
    """The group that `torchrun` started this process in, or this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

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
