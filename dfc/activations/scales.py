"""By what each model's stream is multiplied before the crosscoder sees it (`harvest.scale`).

A loss adds up the squared errors of both models, so that a scale decides how much of it each model has. Equal norms
do not make that equal: most of a stream's norm may be one constant vector, from which nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.activations.manifest import Scale
from dfc.config import ScaleRule

Floats = npt.NDArray[np.float64]

LEAST_DEVIATION = 0.01
"""Of the median column's standard deviation: `columns` takes none for smaller, or what hardly moves would explode."""
_AT_ONCE = 2_048


class Spread:
    """Variance of each column over rows that come in pieces, in float64.

    Attributes:
        shift: what is taken from every row first, (width,), best about the rows' mean: a mean much larger than the
            variance would swallow it.
        rows: how many came.
        sums: of the shifted rows and of their squares, (2, width).
    """

    def __init__(self, shift: Tensor) -> None:
        self.shift = shift.double()
        self.rows = 0
        self.sums = torch.zeros(2, len(shift), dtype=torch.float64)

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Take in rows, (rows, width)."""
        for part in rows.split(_AT_ONCE):
            moved = part.double() - self.shift
            self.sums += torch.stack([moved.sum(0), moved.square().sum(0)])
        self.rows += len(rows)

    def variances(self) -> Tensor:
        """Each column's mean squared distance from its mean, (width,); NaN without rows."""
        mean, squares = self.sums / self.rows if self.rows else self.sums * float("nan")
        return (squares - mean.square()).clamp_min(0)


def variances(pieces: Iterable[Tensor]) -> Floats:
    """The variance of each column of rows that come in pieces, (rows, width) each; (width,).

    Raises:
        ValueError: if there are no rows.
    """
    spread: Spread | None = None
    for rows in pieces:
        if len(rows):
            spread = spread or Spread(rows[0])
            spread.add(rows)
    if spread is None:
        raise ValueError("there are no rows whose variance could be measured")
    return np.asarray(spread.variances().numpy(), dtype=np.float64)


def factors(rule: ScaleRule, norms: npt.NDArray[np.float32], spread: Callable[[], Floats], target: float) -> Scale:
    """What a model's stream is to be multiplied by: one factor, or with `columns` one for each column.

    Args:
        rule: `median` or `rms`, that norm becomes `target`; `none`, nothing is changed; `variance`, the total variance
            about the mean becomes target²; `columns`, so does it, and all columns have one standard deviation, save
            those whose own is below LEAST_DEVIATION of the median column's (of those that move at all): these are
            taken to have that much.
        norms: of the rows, (rows,).
        spread: gives the variance of each column of the stream, (width,); asked by `variance` and `columns` alone.
        target: √((d_a + d_b) / 2).

    Raises:
        ValueError: if a model's rows are all the same, or all zero: no factor gives them a variance or a norm.
    """
    if rule == "none":
        return 1.0
    if rule in ("median", "rms"):
        typical = np.median(norms) if rule == "median" else np.sqrt(np.mean(np.square(norms, dtype=np.float64)))
        return target / _positive(float(typical), "have the norm 0")
    moving = spread()
    total = _positive(float(moving.sum()), "are the same")
    if rule == "variance":
        return target / float(np.sqrt(total))
    deviations = np.sqrt(moving)
    divisors = np.maximum(deviations, LEAST_DEVIATION * float(np.median(deviations[deviations > 0])))
    own = target / np.sqrt(np.sum(moving / divisors**2))
    return tuple((own / divisors).tolist())


def _positive(value: float, what: str) -> float:
    if not value > 0:
        raise ValueError(f"all its rows {what}")
    return value
