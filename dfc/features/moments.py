"""Sums over all kept pairs from which everything linear about streams and features follows.

One pass collects them, apart for training and for held-out documents. Memory grows with
the dictionary times the width of both streams, never with the corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from dfc import progress
from dfc.activations.loader import KeptRows, kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import Side, UserError
from dfc.crosscoder.batch_topk import argsort, weighted_sums
from dfc.crosscoder.model import Codes, Crosscoder

_FEATURES_AT_ONCE = 4_096


@dataclass
class Sums:
    """Sums over rows; x is the two scaled streams side by side less the decoder bias, z the codes.

    The bias is about the mean, so little is lost where a mean is taken off later.

    Attributes:
        widths: of the two streams.
        rows: how many.
        x, xx: Σ x and Σ x xᵀ, (D,) and (D, D) float64 with D = width_a + width_b.
        firings: rows with z > 0, (features,).
        z, zz: Σ z and Σ z², (features,) float64.
        zx: Σ z x, (features, D) float32.
    """

    widths: tuple[int, int]
    rows: int
    x: Tensor
    xx: Tensor
    firings: Tensor
    z: Tensor
    zz: Tensor
    zx: Tensor

    @classmethod
    def empty(cls, features: int, widths: tuple[int, int]) -> Self:
        """Sums over no rows."""
        width = sum(widths)
        return cls(
            widths,
            0,
            torch.zeros(width, dtype=torch.float64),
            torch.zeros(width, width, dtype=torch.float64),
            torch.zeros(features, dtype=torch.long),
            torch.zeros(features, dtype=torch.float64),
            torch.zeros(features, dtype=torch.float64),
            torch.zeros(features, width),
        )

    def add(self, x: Tensor, codes: Codes) -> None:
        """Take in rows (rows, D), and their codes sorted by feature."""
        self.rows += len(x)
        self.x += x.sum(0, dtype=torch.float64)
        self.xx += x.T @ x
        values = codes.values.double()
        self.firings += torch.bincount(codes.features, minlength=len(self.z))
        self.z += torch.bincount(codes.features, values, len(self.z))
        self.zz += torch.bincount(codes.features, values.square(), len(self.z))
        add_products(self.zx, codes, x)

    @property
    def mean(self) -> Tensor:
        """Mean of x, (D,)."""
        return self.x / self.rows

    def columns(self, side: Side) -> slice:
        """Columns of x that belong to one model."""
        return slice(0, self.widths[0]) if side == "a" else slice(self.widths[0], None)

    def about(self, point: Tensor) -> Tensor:
        """Mean of (x − point)(x − point)ᵀ, (D, D); about its own mean that is the covariance."""
        cross = torch.outer(self.mean, point)
        return self.xx / self.rows - cross - cross.T + torch.outer(point, point)


@dataclass(frozen=True)
class Collected:
    """What one pass finds.

    Attributes:
        train, held_out: sums over the kept pairs of training and of held-out documents.
        rebuilt: Σ z (x̂ − decoder bias) over both, for features that only one model has, (exclusive, D).
        sample, sample_codes: evenly drawn held-out rows, less the decoder bias, (rows, D), and their codes.
        pairs, codes: number of evenly drawn pairs of all documents, and their codes.

    Rows of codes are counted among the drawn ones; codes are sorted by feature.
    """

    train: Sums
    held_out: Sums
    rebuilt: Tensor
    sample: Tensor
    sample_codes: Codes
    pairs: int
    codes: Codes

    @property
    def firings(self) -> Tensor:
        """Pairs on which each feature fires, (features,)."""
        return self.train.firings + self.held_out.firings


@torch.no_grad()
def collect(
    crosscoder: Crosscoder, store: ActivationStore, batch: int, sample_rows: int, sample_pairs: int
) -> Collected:
    """One pass over all kept pairs.

    Args:
        crosscoder: trained.
        store: its activations.
        batch: rows encoded at once.
        sample_rows: held-out rows to keep, at most.
        sample_pairs: pairs whose codes to keep, at most.

    Raises:
        UserError: if no document was held out, or none was left for training.
    """
    features, shards = crosscoder.config.features, store.manifest.shards
    held_out_rows = sum(shard.held_out for shard in shards)
    if not 0 < held_out_rows < store.manifest.kept:
        raise UserError(
            f"{store.folder}: has {store.manifest.kept - held_out_rows} pairs for training and {held_out_rows} held "
            f"out, and evidence needs both; raise corpus.pairs or change corpus.held_out."
        )
    sums = {out: Sums.empty(features, crosscoder.widths) for out in (False, True)}
    rebuilt = torch.zeros(exclusive_count(crosscoder), sum(crosscoder.widths))
    sample, pairs = _Thinned(held_out_rows, sample_rows), _Thinned(store.manifest.kept, sample_pairs)
    rows: list[Tensor] = []
    with progress.bar("evidence: moments", store.manifest.kept, "pairs") as bar:
        for shard in range(len(store)):
            for out, raw in _batches(kept_rows(store, shard), batch):
                x, codes = raw - crosscoder.decoder_bias, crosscoder.encode(raw)
                back = crosscoder.decode(codes, len(x)) - crosscoder.decoder_bias
                codes = _take(codes, argsort(codes.features))
                sums[out].add(x, codes)
                add_products(rebuilt, of_features(codes, 0, len(rebuilt)), back)
                if out:
                    rows.append(x[sample.take(codes, len(x))])
                pairs.take(codes, len(x))
                bar.update(len(x))
    return Collected(sums[False], sums[True], rebuilt, torch.cat(rows), sample.codes(), pairs.count, pairs.codes())


def add_products(sums: Tensor, codes: Codes, x: Tensor) -> None:
    """Add Σ z x over the rows to `sums`, (features, width), from codes sorted by feature."""
    touched, place = torch.unique_consecutive(codes.features, return_inverse=True)
    for first in range(0, len(touched), _FEATURES_AT_ONCE):
        own = touched[first : first + _FEATURES_AT_ONCE]
        start, stop = torch.searchsorted(place, torch.tensor([first, first + len(own)])).tolist()
        part = slice(start, stop)
        sums[own] += weighted_sums(place[part] - first, codes.rows[part], codes.values[part], x, len(own))


def exclusive_count(crosscoder: Crosscoder) -> int:
    """Number of features that only one model may use; these have the first ids."""
    return sum(len(part) for part in crosscoder.parts if part.partition != "shared")


def of_features(codes: Codes, first: int, stop: int) -> Codes:
    """Codes of consecutive features, counted from the first of these; `codes` sorted by feature."""
    begin, end = torch.searchsorted(codes.features, torch.tensor([first, stop])).tolist()
    part = slice(begin, end)
    return Codes(codes.rows[part], codes.features[part] - first, codes.values[part])


def _batches(rows: KeptRows, batch: int) -> Iterator[tuple[bool, Tensor]]:
    for out in (False, True):
        mine = rows.x[rows.held_out == out]
        yield from ((out, x) for x in mine.split(batch) if len(x))


class _Thinned:
    """Codes of evenly drawn rows: of so many in all, at most so many."""

    def __init__(self, rows: int, most: int) -> None:
        self.count = 0
        self._step = -(-rows // most)
        self._seen = 0
        self._parts: list[Codes] = []

    def take(self, codes: Codes, rows: int) -> Tensor:
        """Draw from a batch of rows, and say which of its rows were drawn, (drawn,)."""
        first = -self._seen % self._step
        drawn = torch.arange(first, rows, self._step)
        kept = _take(codes, codes.rows % self._step == first)
        self._parts.append(Codes(kept.rows // self._step + self.count, kept.features, kept.values))
        self._seen += rows
        self.count += len(drawn)
        return drawn

    def codes(self) -> Codes:
        """All that were drawn, sorted by feature."""
        merged = Codes(*(torch.cat([getattr(part, name) for part in self._parts]) for name in Codes.__annotations__))
        return _take(merged, argsort(merged.features))


def _take(codes: Codes, chosen: Tensor) -> Codes:
    return Codes(codes.rows[chosen], codes.features[chosen], codes.values[chosen])
