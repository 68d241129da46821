"""For each exclusive feature, the feature that fires most like it where it should have no like.

Correlations over pairs come from products of sparse codes, a block of exclusive features at
a time: what is held is (block, features), and the work grows with the entries alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc import progress
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.features.moments import exclusive_count, of_features

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]
_BLOCK_BYTES = 128 << 20


@dataclass(frozen=True)
class Likeness:
    """The most correlated feature of another partition, for every feature, (features,).

    Attributes:
        ids: -1 where there is none.
        correlations: NaN where there is none.
    """

    ids: Ints
    correlations: Numbers


@torch.no_grad()
def correlations(crosscoder: Crosscoder, codes: Codes, pairs: int) -> tuple[Likeness, Likeness]:
    """For each exclusive feature the largest correlation with the other exclusive partition, and with shared features.

    Args:
        crosscoder: whose features these are.
        codes: sorted by feature.
        pairs: how many pairs they are the codes of.
    """
    features = crosscoder.config.features
    partition = np.array(crosscoder.partitions())
    partner = {side: torch.from_numpy(partition == other) for side, other in (("a", "b"), ("b", "a"))}
    shared = torch.from_numpy(partition == "shared")
    mean, deviation = _spread(codes, features, pairs)
    everything = _matrix(codes, pairs, features).coalesce()
    ids = torch.full((2, features), -1)
    largest = torch.full((2, features), torch.nan, dtype=torch.float64)
    at_once = max(1, _BLOCK_BYTES // (8 * features))
    exclusive = exclusive_count(crosscoder)
    with progress.bar("evidence: mirrors", exclusive, "features") as bar:
        for part in crosscoder.parts:
            if part.partition == "shared":
                continue
            for first in range(part.first_id, part.first_id + len(part), at_once):
                block = slice(first, min(first + at_once, part.first_id + len(part)))
                own = _matrix(of_features(codes, block.start, block.stop), pairs, block.stop - block.start)
                together = torch.sparse.mm(own.t(), everything).to_dense() / pairs
                found = (together - torch.outer(mean[block], mean)) / torch.outer(deviation[block], deviation)
                for row, allowed in enumerate((partner[part.partition], shared)):
                    ids[row, block], largest[row, block] = _largest(found, allowed)
                bar.update(block.stop - block.start)
    mirror, other = (Likeness(i.numpy(), c.numpy()) for i, c in zip(ids, largest, strict=True))
    return mirror, other


def _largest(found: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Column and value of the largest correlation among allowed columns; -1 and NaN where none is defined."""
    usable = torch.where(allowed & found.isfinite(), found, -torch.inf)
    value, column = usable.max(dim=1)
    there = value.isfinite()
    return torch.where(there, column, -1), torch.where(there, value, torch.nan)


def _spread(codes: Codes, features: int, pairs: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over all pairs, (features,)."""
    values = codes.values.double()
    mean = torch.bincount(codes.features, values, features) / pairs
    squares = torch.bincount(codes.features, values.square(), features) / pairs
    return mean, (squares - mean.square()).sqrt()


def _matrix(codes: Codes, rows: int, columns: int) -> Tensor:
    """Codes as a sparse matrix, (rows, columns)."""
    places = torch.stack([codes.rows, codes.features])
    return torch.sparse_coo_tensor(places, codes.values.double(), (rows, columns), check_invariants=False)
