"""Rows in eight bits: a code a value, a factor for each row and one for each column."""

from __future__ import annotations

import torch
from torch import Tensor


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes of rows (pairs, width), and the factors that give them back: of each column, then of each row.

    A few columns of a residual stream are a hundred times as large as the others; with a factor for rows alone these
    would leave the others a handful of steps. So columns are first brought to one size.
    """
    columns = rows.nan_to_num(0, 0, 0).square().mean(dim=0).sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    quantised, factors = codes(rows, columns)
    return quantised, torch.cat([columns, factors])


def codes(rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes of rows (pairs, width) and each row's factor, given those of the columns."""
    even = (rows / columns).nan_to_num(0, 0, 0)
    factors = even.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return (even / factors[:, None]).round().clamp(-127, 127).to(torch.int8), factors


def rows_of(codes: Tensor, columns: Tensor, factors: Tensor) -> Tensor:
    """The rows, (pairs, width) bfloat16, from their codes and the factors of columns and rows."""
    return (codes * columns * factors[:, None]).to(torch.bfloat16)
