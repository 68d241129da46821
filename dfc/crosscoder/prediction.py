"""What each stream says of the other, linearly: what dedicated features may be made not to see.

A dedicated feature that reads all of its model's stream spends itself on what both models hold, wherever that is worth
more to the reconstruction than what its model alone has. Of what the other stream does not predict, it cannot.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dfc.config import Side, opposite

ROWS = 65_536  # of training, from which the maps are fitted
_RIDGE = 1e-3  # isotropic noise that a stream is taken to carry, relative to its mean variance


class Prediction(nn.Module):
    """Ridge regressions of each stream on the other, both scaled.

    Attributes:
        mean: of both streams, (width_a + width_b,).
        of_a: x_a − mean_a is predicted as (x_b − mean_b) · of_a, (width_b, width_a).
        of_b: the same the other way, (width_a, width_b).
    """

    mean: Tensor
    of_a: Tensor
    of_b: Tensor

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(sum(widths)))
        self.register_buffer("of_a", torch.zeros(widths[1], widths[0]))
        self.register_buffer("of_b", torch.zeros(widths[0], widths[1]))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Fit both maps to scaled rows.

        Args:
            batches: (rows, width_a + width_b) each; the first are used that make up `ROWS` rows.
        """
        size, rows = len(self.mean), 0
        first, second = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
        for x in batches:
            rows += len(x)
            first += x.sum(dim=0, dtype=torch.float64)
            second += (x.T @ x).double()
            if rows >= ROWS:
                break
        mean = first / rows
        covariance = second / rows - mean.outer(mean)
        a, b = slice(0, len(self.of_b)), slice(len(self.of_b), size)
        self.mean.copy_(mean)
        self.of_a.copy_(_regression(covariance[b, b], covariance[b, a]))
        self.of_b.copy_(_regression(covariance[a, a], covariance[a, b]))

    def unpredicted(self, x: Tensor, side: Side) -> Tensor:
        """What of one model's stream the other's does not predict, (rows, its width), of rows (rows, both widths).

        The model's mean stays in it, as in the stream itself.
        """
        own, other = self._columns(side)
        return x[:, own] - (x[:, other] - self.mean[other]) @ self.of(side)

    def alone(self, weight: Tensor, side: Side) -> tuple[Tensor, Tensor]:
        """What reads in one model's stream alone what `weight` reads in what is unpredicted of it.

        The other stream, which is not there, is taken to be what this one predicts of it: with P_a = `of_a` and
        P_b = `of_b`, x_a − (x_b − m_b) P_a becomes x_a − (x_a − m_a) P_b P_a.

        Args:
            weight: (width,), of `side`.
            side: the model that is there.

        Returns:
            What to multiply the stream with, (width,), and what to add, a number.
        """
        own, _ = self._columns(side)
        taken_off = self.of(opposite(side)) @ (self.of(side) @ weight)
        return weight - taken_off, taken_off @ self.mean[own]

    def of(self, side: Side) -> Tensor:
        """The map that predicts a model's stream, (width of the other, width)."""
        return self.of_a if side == "a" else self.of_b

    def _columns(self, side: Side) -> tuple[slice, slice]:
        """A model's columns of both streams side by side, and the other's."""
        width_a = len(self.of_b)
        a, b = slice(0, width_a), slice(width_a, None)
        return (a, b) if side == "a" else (b, a)


def ridged(covariance: Tensor, ridge: float) -> Tensor:
    """A covariance with isotropic noise of `ridge` times the mean variance added."""
    size = len(covariance)
    noise = ridge * covariance.trace() / size + torch.finfo(covariance.dtype).tiny
    return covariance + noise * torch.eye(size, dtype=covariance.dtype)


def _regression(covariance: Tensor, shared: Tensor) -> Tensor:
    """Coefficients (inputs, outputs) from the inputs' covariance and that of inputs with outputs."""
    return torch.linalg.solve(ridged(covariance, _RIDGE), shared)
