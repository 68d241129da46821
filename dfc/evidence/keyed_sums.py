"""Sums of rows with equal keys, of which there may be many more than fit in memory at once."""

from __future__ import annotations

import torch
from torch import Tensor

from dfc.machine.processes import Group

_SHIFT = 32
_PENDING = 1 << 20  # rows, and as many as there are sums already


class KeyedSums:
    """Σ of numbers by a pair of numbers, each below 2³²; memory grows with the distinct pairs alone.

    Args:
        columns: numbers of each row.
    """

    def __init__(self, columns: int) -> None:
        self._keys = [torch.zeros(0, dtype=torch.long)]
        self._sums = [torch.zeros(0, columns, dtype=torch.float64)]
        self._pending = 0

    def add(self, first: Tensor, second: Tensor, values: Tensor) -> None:
        """Take in rows: the two numbers of each, (rows,), and what is added up, (rows, columns)."""
        keys, sums = _by_key((first.long() << _SHIFT) + second.long(), values.double())
        self._keys.append(keys)
        self._sums.append(sums)
        self._pending += len(keys)
        if self._pending > max(_PENDING, len(self._keys[0])):
            self._merge()

    def total(self) -> tuple[Tensor, Tensor, Tensor]:
        """First and second number of each distinct pair, (pairs,), in their order, and its sums, (pairs, columns)."""
        self._merge()
        return self._keys[0] >> _SHIFT, self._keys[0] & (2**_SHIFT - 1), self._sums[0]

    def gather(self, group: Group) -> None:
        """In the first process, take in those of all."""
        if group.size > 1:
            self._merge()
            keys, sums = _by_key(group.collect(self._keys[0]), group.collect(self._sums[0]))
            self._keys, self._sums = [keys], [sums]

    def _merge(self) -> None:
        if len(self._keys) == 1:
            return
        keys, sums = _by_key(torch.cat(self._keys), torch.cat(self._sums))
        self._keys, self._sums, self._pending = [keys], [sums], 0


def _by_key(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    distinct, place = torch.unique(keys, return_inverse=True)
    return distinct, torch.zeros(len(distinct), values.shape[1], dtype=torch.float64).index_add_(0, place, values)
