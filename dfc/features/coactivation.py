"""For every feature the features that fire on the same pairs, more than chance would have it.

Counts of pairs come from products of sparse codes over a bounded number of pairs, a block of
features at a time: what is held is (block, features), and the work grows with the products
of entries alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc.features.codes import CodesOnDisk, Ints
from dfc.machine import progress

_BLOCK_BYTES = 32 << 20  # and a few times as much for what is computed from it
_PRODUCTS_AT_ONCE = 1 << 21
_LEAST = 3  # pairs on which both must fire


@dataclass(frozen=True)
class Firings:
    """Which features fire on which pairs; two arrays of one length, sorted by feature and pair.

    Attributes:
        pairs, features: how many of each there are.
        feature, pair: of each firing.
    """

    pairs: int
    features: int
    feature: Ints
    pair: Ints


def sample(codes: CodesOnDisk, most: int) -> Firings:
    """Firings on evenly drawn kept pairs, at most so many."""
    step = max(1, -(-codes.store.manifest.kept // most))
    features, pairs = [], []
    seen = drawn = 0
    for shard in range(len(codes)):
        kept = np.flatnonzero(codes.store.keep(shard, codes.store.rows(shard)))
        chosen = kept[-seen % step :: step]
        number = np.full(kept[-1] + 1 if len(kept) else 0, -1)
        number[chosen] = drawn + np.arange(len(chosen))
        shard_codes = codes.shard(shard)
        inside = number[shard_codes.rows] >= 0
        features.append(shard_codes.features[inside])
        pairs.append(number[shard_codes.rows[inside]])
        seen, drawn = seen + len(kept), drawn + len(chosen)
    feature = np.concatenate(features)
    order = np.argsort(feature, kind="stable")
    return Firings(drawn, codes.features, feature[order], np.concatenate(pairs)[order])


def strongest(firings: Firings, partners: int) -> pa.Table:
    """The table `coactivations`: for each feature the others with the largest φ, the correlation of firing.

    With n₁ and n₂ of N pairs on which each fires and n on both, φ = (N n − n₁ n₂) / √(n₁ (N − n₁) n₂ (N − n₂)):
    unlike their overlap (Jaccard), n / (n₁ + n₂ − n), it is 0 where two dense features meet by chance.

    Args:
        firings: over which it is counted.
        partners: how many to keep for each feature, those with φ > 0.
    """
    counts = np.bincount(firings.feature, minlength=firings.features).astype(np.float64)
    spread = np.sqrt(counts * (firings.pairs - counts))
    pieces = []
    with progress.bar("features: partners", firings.features, "features") as bar:
        for first, together in _blocks(firings):
            own = slice(first, first + len(together))
            excess = firings.pairs * together - np.outer(counts[own], counts)
            phi = excess / np.maximum(np.outer(spread[own], spread), np.finfo(np.float64).tiny)
            phi[together < _LEAST] = 0
            phi[np.arange(len(together)), np.arange(own.start, own.stop)] = 0
            others = np.argpartition(-phi, min(partners, phi.shape[1] - 1), axis=1)[:, :partners]
            row = np.repeat(np.arange(len(together)), others.shape[1])
            other = others.reshape(-1)
            positive = phi[row, other] > 0
            row, other = row[positive], other[positive]
            order = np.lexsort((other, -phi[row, other], row))
            row, other = row[order], other[order]
            both = together[row, other]
            pieces.append(
                pa.table(
                    {
                        "feature_id": row + first,
                        "other_id": other,
                        "together": both.astype(np.int64),
                        "jaccard": both / (counts[row + first] + counts[other] - both),
                        "phi": phi[row, other],
                    }
                )
            )
            bar.update(len(together))
    return pa.concat_tables(pieces)


def _blocks(firings: Firings) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """First feature of a block, and pairs on which each of its features and each feature fire, (block, features)."""
    features = firings.features
    by_pair = np.argsort(firings.pair, kind="stable")
    others = firings.feature[by_pair]
    begins = np.searchsorted(firings.pair[by_pair], np.arange(firings.pairs + 1))
    sizes = np.diff(begins)
    at_once = max(1, _BLOCK_BYTES // (8 * features))
    for first in range(0, features, at_once):
        stop = min(first + at_once, features)
        start, end = np.searchsorted(firings.feature, [first, stop])
        feature, pair = firings.feature[start:end] - first, firings.pair[start:end]
        together = np.zeros((stop - first) * features)
        # Each firing meets all firings of its pair. So many at a time that they stay in the cache, and in the order of
        # features, so that what they are added to does too.
        behind = np.cumsum(sizes[pair])
        cuts = np.searchsorted(behind, np.arange(0, behind[-1] if len(behind) else 0, _PRODUCTS_AT_ONCE))
        for i, j in pairwise(np.unique([*cuts, len(pair)])):
            length = sizes[pair[i:j]]
            done = np.cumsum(length)
            places = np.arange(done[-1]) + np.repeat(begins[pair[i:j]] - (done - length), length)
            low, high = feature[i] * features, (feature[j - 1] + 1) * features
            keys = others[places] + np.repeat(feature[i:j] * features - low, length)
            together[low:high] += np.bincount(keys, minlength=high - low)
        yield first, together.reshape(stop - first, features)
