"""The unembedding of a few rows at once, on a CPU.

On some processors MKL's float32 product x · Wᵀ of 2 to 8 rows with a matrix that no cache holds takes two to three
times as long as that of one row, and the same product as (W · xᵀ)ᵀ no longer than one row; on others (Xeons with
AVX-512) it is the other way about. So it is tried once which is faster here. The unembedding is the largest matrix of a
small model, and a baseline beside a steered text are two rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

_MOST_ROWS = 8  # from 16 on, the usual product is faster
_LEAST_WEIGHTS = 1 << 22  # 16 MB: what a cache holds is multiplied as usual
_TRIED_WEIGHTS = 1 << 24  # of a larger matrix, so that trying takes a tenth of a second
_TRIALS = 5


def quicken(head: nn.Module) -> None:
    """Let a model's unembedding take few rows that way, if it is a large plain matrix and that pays on this machine."""
    if type(head) is not nn.Linear or head._parameters["bias"] is not None or head.weight.numel() < _LEAST_WEIGHTS:
        return
    if head.weight.device.type == "cpu" and head.weight.dtype == torch.float32 and _pays(head.weight):
        head.__class__ = FewRowsLinear


class FewRowsLinear(nn.Linear):
    """The same weights, the same sums, added up in another order."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.numel() // max(1, x.shape[-1])
        if not 1 < rows <= _MOST_ROWS or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        return _turned(x.reshape(rows, -1), self.weight).view(*x.shape[:-1], -1)


def _usual(x: Tensor, weight: Tensor) -> Tensor:
    return linear(x, weight)


def _turned(x: Tensor, weight: Tensor) -> Tensor:
    return (weight @ x.T).T.contiguous()


@torch.no_grad()
def _pays(weight: Tensor) -> bool:
    """Whether the product of two rows is clearly faster that way, at its best of several times."""
    part = weight[: max(1, _TRIED_WEIGHTS // weight.shape[1])]
    rows = torch.ones(2, weight.shape[1])
    best = {_usual: float("inf"), _turned: float("inf")}
    for _ in range(_TRIALS):
        for product in best:
            best[product] = min(best[product], _seconds(product, rows, part))
    return best[_turned] < 0.8 * best[_usual]


def _seconds(product: Callable[[Tensor, Tensor], Tensor], rows: Tensor, weight: Tensor) -> float:
    started = time.perf_counter()
    product(rows, weight)
    return time.perf_counter() - started
