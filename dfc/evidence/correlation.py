"""Correlations of features' activations over pairs, from sparse codes alone.

Products of sparse codes, a block of features at a time: what is held is (block, features), and
the work grows with the entries alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dfc.crosscoder.model import Codes
from dfc.evidence.moments import of_features

_BLOCK_BYTES = 128 << 20


@torch.no_grad()
def blocks(left: Codes, wanted: range, right: Codes, features: int, pairs: int) -> Iterator[tuple[slice, Tensor]]:
    """Correlations of some features of `left` with all of `right`, a block of the former at a time.

    Args:
        left, right: codes of the same pairs, sorted by feature; they may be the same.
        wanted: features of `left`.
        features: how many features `right` has.
        pairs: how many pairs these are the codes of.

    Returns:
        Which features of `left`, and their correlations, (block, features) float64; not finite where one of the two
        never fires, or always alike.
    """
    mean, deviation = _spread(right, features, pairs)
    everything = _matrix(right, pairs, features).coalesce()
    at_once = max(1, _BLOCK_BYTES // (8 * features))
    for first in range(wanted.start, wanted.stop, at_once):
        block = slice(first, min(first + at_once, wanted.stop))
        own = of_features(left, block.start, block.stop)
        own_mean, own_deviation = _spread(own, block.stop - block.start, pairs)
        together = torch.sparse.mm(_matrix(own, pairs, len(own_mean)).t(), everything).to_dense() / pairs
        yield block, (together - torch.outer(own_mean, mean)) / torch.outer(own_deviation, deviation)


def _spread(codes: Codes, features: int, pairs: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over all pairs, (features,)."""
    values = codes.values.double()
    mean = torch.bincount(codes.features, values, features) / pairs
    squares = torch.bincount(codes.features, values.square(), features) / pairs
    return mean, (squares - mean.square()).clamp_min(0).sqrt()


def _matrix(codes: Codes, rows: int, columns: int) -> Tensor:
    """Codes as a sparse matrix, (rows, columns)."""
    places = torch.stack([codes.rows, codes.features])
    return torch.sparse_coo_tensor(places, codes.values.double(), (rows, columns), check_invariants=False)
