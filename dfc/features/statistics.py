"""Statistics of all features in one pass over the activations, from the sparse codes alone.

Memory grows with the dictionary, not with the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc import progress
from dfc.activations.loader import KeptRows, kept_rows
from dfc.activations.shards import ActivationStore
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.variance import ExplainedVariance

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Four bins an octave from 2⁻⁶ to 2¹⁰: below and above, values fall into the first and the last bin.
HISTOGRAM_EDGES = np.exp2(np.arange(-24, 41) / 4)
QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SAMPLE = 64  # document peaks kept at random for each feature, from which the lower bands are drawn


@dataclass(frozen=True)
class ShardCodes:
    """Sparse codes of a shard's kept rows; three arrays of one length.

    Attributes:
        rows: row within the shard, increasing for equal features.
        features: global ids, increasing.
        values: activations.
    """

    rows: Ints
    features: Ints
    values: Floats


class LargestOfEach:
    """For every feature the `size` candidates with the largest keys, in (features, size) arrays."""

    def __init__(self, features: int, size: int) -> None:
        self.keys = np.full((features, size), -np.inf, dtype=np.float32)
        self.values = np.zeros((features, size), dtype=np.float32)
        self.rows = np.full((features, size), -1, dtype=np.int64)

    def offer(self, features: Ints, keys: Floats, values: Floats, rows: Ints) -> None:
        """Take in candidates, (candidates,) each; `rows` says where a candidate comes from."""
        size = self.keys.shape[1]
        hopeful = keys > self.keys[features, -1]  # each feature's keys fall from left to right
        features, keys, values, rows = features[hopeful], keys[hopeful], values[hopeful], rows[hopeful]
        order = np.lexsort((-keys, features))
        rank = rank_in_group(features[order])
        order, rank = order[rank < size], rank[rank < size]
        touched, place = np.unique(features[order], return_inverse=True)
        shape = len(touched), 2 * size
        all_keys = np.full(shape, -np.inf, dtype=np.float32)
        all_values, all_rows = np.zeros(shape, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
        for old, new, entries in (
            (self.keys, all_keys, keys),
            (self.values, all_values, values),
            (self.rows, all_rows, rows),
        ):
            new[:, :size] = old[touched]
            new[place, size + rank] = entries[order]
        best = np.argsort(-all_keys, axis=1, kind="stable")[:, :size]
        self.keys[touched] = np.take_along_axis(all_keys, best, axis=1)
        self.values[touched] = np.take_along_axis(all_values, best, axis=1)
        self.rows[touched] = np.take_along_axis(all_rows, best, axis=1)


@dataclass
class Statistics:
    """What one pass finds out about every feature; arrays are (features, …).

    Attributes:
        count, total, maximum: firing pairs; sum and maximum of the activations.
        histogram: counts between HISTOGRAM_EDGES.
        by_source: counts for each source, (features, sources).
        top: strongest documents, by their peak.
        sample: documents drawn uniformly from those on which the feature fires, by their peak.
        source_pairs: kept pairs of each source, (sources,).
        pairs: kept pairs in all.
        held_out: how well held-out pairs are explained.
    """

    count: Ints
    total: npt.NDArray[np.float64]
    maximum: Floats
    histogram: Ints
    by_source: Ints
    top: LargestOfEach
    sample: LargestOfEach
    source_pairs: Ints
    held_out: ExplainedVariance
    pairs: int = 0

    def quantiles(self) -> Floats:
        """Of the non-zero activations at QUANTILE_LEVELS, interpolated in the histogram, (features, levels)."""
        cumulative = np.cumsum(self.histogram, axis=1) / np.maximum(self.count, 1)[:, None]
        result = np.zeros((len(self.count), len(QUANTILE_LEVELS)), dtype=np.float32)
        every = np.arange(len(self.count))
        for index, level in enumerate(QUANTILE_LEVELS):
            cell = np.minimum((cumulative < level).sum(axis=1), cumulative.shape[1] - 1)
            below = np.where(cell > 0, cumulative[every, np.maximum(cell - 1, 0)], 0.0)
            share = (level - below) / np.maximum(cumulative[every, cell] - below, 1e-12)
            left, right = HISTOGRAM_EDGES[cell], HISTOGRAM_EDGES[cell + 1]
            result[:, index] = np.minimum(left + share.clip(0, 1) * (right - left), self.maximum)
        return result


def collect(
    crosscoder: Crosscoder, store: ActivationStore, source_of: Ints, sources: int, top: int, batch: int
) -> Statistics:
    """One pass over all kept rows.

    Args:
        crosscoder: trained.
        store: its activations.
        source_of: source number of each document, (documents,).
        sources: number of sources.
        top: strongest documents to keep for each feature.
        batch: rows encoded at once.
    """
    features = crosscoder.config.features
    statistics = Statistics(
        count=np.zeros(features, dtype=np.int64),
        total=np.zeros(features),
        maximum=np.zeros(features, dtype=np.float32),
        histogram=np.zeros((features, len(HISTOGRAM_EDGES) - 1), dtype=np.int64),
        by_source=np.zeros((features, sources), dtype=np.int64),
        top=LargestOfEach(features, top),
        sample=LargestOfEach(features, _SAMPLE),
        source_pairs=np.zeros(sources, dtype=np.int64),
        held_out=ExplainedVariance(crosscoder.widths),
    )
    generator = np.random.default_rng(0)
    with progress.bar("features: statistics", store.manifest.kept, "pairs") as bar:
        for shard in range(len(store)):
            rows = kept_rows(store, shard)
            codes = encode_shard(crosscoder, rows, batch, statistics.held_out)
            _count(statistics, codes, source_of[rows.document.numpy()], rows)
            _keep_documents(statistics, codes, rows, generator)
            bar.update(len(rows.x))
    return statistics


def encode_shard(
    crosscoder: Crosscoder, rows: KeptRows, batch: int, held_out: ExplainedVariance | None = None
) -> ShardCodes:
    """Codes of a shard's kept rows, `batch` rows encoded at once, sorted by feature and row.

    With `held_out`, that takes in how well the held-out ones among them are explained.
    """
    found = []
    for x, out in zip(rows.x.split(batch), rows.held_out.split(batch), strict=True):
        found.append(crosscoder.encode(x))
        if held_out is not None and bool(out.any()):
            rebuilt = crosscoder.decode(_of_rows(found[-1], out), int(out.sum()))
            held_out.add(x[out] - crosscoder.decoder_bias, x[out] - rebuilt)
    where = [row[codes.rows] for row, codes in zip(rows.row.split(batch), found, strict=True)]
    row = torch.cat(where).numpy()
    feature = torch.cat([codes.features for codes in found]).numpy()
    value = torch.cat([codes.values for codes in found]).numpy()
    order = np.lexsort((row, feature))
    return ShardCodes(row[order], feature[order], value[order])


def _of_rows(codes: Codes, chosen: Tensor) -> Codes:
    """Codes of the rows that a mask chooses, counted among these."""
    mine = chosen[codes.rows]
    return Codes((chosen.cumsum(0) - 1)[codes.rows[mine]], codes.features[mine], codes.values[mine])


def rank_in_group(groups: Ints) -> Ints:
    """Position of each entry among those of its group, from sorted group numbers."""
    starts = np.flatnonzero(np.append(True, groups[1:] != groups[:-1])[: len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))


def global_row(shard: int, rows: Ints) -> Ints:
    """One number for a row of a shard; `divmod` by 2³² gives both back."""
    return (shard << 32) + rows


def _count(statistics: Statistics, codes: ShardCodes, sources: Ints, rows: KeptRows) -> None:
    features, values = codes.features, codes.values
    cells = np.searchsorted(HISTOGRAM_EDGES, values, side="right") - 1
    cells = cells.clip(0, statistics.histogram.shape[1] - 1)
    statistics.pairs += len(rows.x)
    statistics.source_pairs += np.bincount(sources, minlength=len(statistics.source_pairs))
    statistics.count += np.bincount(features, minlength=len(statistics.count))
    statistics.total += np.bincount(features, weights=values, minlength=len(statistics.count))
    np.maximum.at(statistics.maximum, features, values)
    for table, column in ((statistics.histogram, cells), (statistics.by_source, sources[_place(codes.rows, rows)])):
        flat = np.bincount(features * table.shape[1] + column, minlength=table.size)
        table += flat.reshape(table.shape)


def _keep_documents(statistics: Statistics, codes: ShardCodes, rows: KeptRows, generator: np.random.Generator) -> None:
    """Offer each feature's peak in each document, so that no document is shown twice."""
    documents = rows.document.numpy()[_place(codes.rows, rows)]
    order = np.lexsort((-codes.values, documents, codes.features))
    features, documents = codes.features[order], documents[order]
    first = np.append(True, (features[1:] != features[:-1]) | (documents[1:] != documents[:-1]))[: len(features)]
    peaks = order[first]
    features, values = codes.features[peaks], codes.values[peaks]
    origin = global_row(rows.shard, codes.rows[peaks])
    statistics.top.offer(features, values, values, origin)
    statistics.sample.offer(features, generator.random(len(peaks), dtype=np.float32), values, origin)


def _place(shard_rows: Ints, rows: KeptRows) -> Ints:
    """Place among the kept rows of rows of the shard."""
    return np.searchsorted(rows.row.numpy(), shard_rows)
