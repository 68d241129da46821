"""Fraction of variance explained, the one measure of how well activations are reconstructed."""

from __future__ import annotations

import torch
from torch import Tensor


class ExplainedVariance:
    """FVE in each model, 1 − Σ‖x − x̂‖² / Σ‖x − mean‖², over rows that come in pieces.

    Attributes:
        rows: how many came.
        sums: of residual², x and x², (3, width_a + width_b) float64.
    """

    def __init__(self, widths: tuple[int, int]) -> None:
        self.widths = widths
        self.rows = 0
        self.sums = torch.zeros(3, sum(widths), dtype=torch.float64)

    @torch.no_grad()
    def add(self, x: Tensor, residual: Tensor) -> None:
        """Take in rows, both (rows, width_a + width_b); x may be shifted by any constant, best to about its mean."""
        self.rows += len(x)
        sums = torch.stack([residual.square().sum(0), x.sum(0), x.square().sum(0)])
        self.sums += sums.to(self.sums)

    def fve(self) -> tuple[float, float]:
        """FVE of model A and of model B."""
        error, total, squares = self.sums
        variance = (squares - total.square() / self.rows).split(self.widths)
        a, b = (
            1 - float(left.sum() / all_.sum()) for left, all_ in zip(error.split(self.widths), variance, strict=True)
        )
        return a, b
