"""Statistics of all features in one pass over the sparse codes.

Memory grows with the dictionary, not with the corpus; time with the entries of the codes. Several processes take a
share of the shards each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dfc.activations.documents import ROLES
from dfc.activations.shards import Rows
from dfc.features.codes import CodesOnDisk, Floats, HeldOut, Ints, ShardCodes
from dfc.machine import progress
from dfc.machine.processes import ALONE, Group

# Four bins an octave from 2⁻⁶ to 2¹⁰: below and above, values fall into the first and the last bin.
HISTOGRAM_EDGES = np.exp2(np.arange(-24, 41) / 4)
EVEN_FIRINGS = 10
"""Firings, spread as the corpus is, that are added where a feature's sources are compared: a few firings say little."""
QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SAMPLE = 64  # document peaks kept at random for each feature, from which the lower bands are drawn


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

    def merge(self, keys: Floats, values: Floats, rows: Ints) -> None:
        """Take in what another has kept of candidates that came later; among equals those that came first stay."""
        features, place = np.nonzero(rows >= 0)
        self.offer(features, keys[features, place], values[features, place], rows[features, place])

    def gather(self, group: Group) -> None:
        """In the first process, take in what all have kept."""
        own = (self.keys, self.values, self.rows)
        parts = [group.collect(torch.from_numpy(array)).numpy().reshape(-1, *array.shape) for array in own]
        for keys, values, rows in list(zip(*parts, strict=True))[1:]:
            self.merge(keys, values, rows)


@dataclass
class Statistics:
    """What one pass finds out about every feature; arrays are (features, …).

    Attributes:
        count, total, squares, maximum: firing pairs; sum, sum of squares and maximum of the activations.
        histogram: counts between HISTOGRAM_EDGES.
        by_source: counts for each source, (features, sources).
        by_role: counts for each of ROLES, (features, roles).
        top: strongest documents, by their peak.
        sample: documents drawn uniformly from those on which the feature fires, by their peak.
        source_pairs, role_pairs: kept pairs of each source, (sources,), and of each role, (roles,).
        held_out: how well held-out pairs are explained.
        total_variance: of model A's scaled stream and of B's, over kept pairs.
        pairs: kept pairs in all.
    """

    count: Ints
    total: npt.NDArray[np.float64]
    squares: npt.NDArray[np.float64]
    maximum: Floats
    histogram: Ints
    by_source: Ints
    by_role: Ints
    top: LargestOfEach
    sample: LargestOfEach
    source_pairs: Ints
    role_pairs: Ints
    held_out: HeldOut
    total_variance: tuple[float, float]
    pairs: int = 0

    def gather(self, group: Group) -> None:
        """In the first process, take in what all have counted; elsewhere what is left is of no use."""
        for name in ("count", "total", "squares", "histogram", "by_source", "by_role", "source_pairs", "role_pairs"):
            setattr(self, name, group.added(torch.from_numpy(getattr(self, name))).numpy())
        self.maximum = group.collect(torch.from_numpy(self.maximum)[None]).amax(0).numpy()
        self.pairs = group.total(self.pairs)
        self.top.gather(group)
        self.sample.gather(group)

    def mean(self) -> npt.NDArray[np.float64]:
        """Of the non-zero activations, (features,); 0 where there are none."""
        return self.total / np.maximum(self.count, 1)

    def variance(self) -> npt.NDArray[np.float64]:
        """Of the non-zero activations, their mean squared distance from the mean, (features,)."""
        return np.maximum(self.squares / np.maximum(self.count, 1) - self.mean() ** 2, 0)

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


def collect(codes: CodesOnDisk, source_of: Ints, sources: int, top: int, group: Group = ALONE) -> Statistics:
    """One pass over the codes of all kept rows.

    Several processes first count what is drawn from, so that each draws as one process would; the first returns what
    all have found, the others nothing of use.

    Args:
        codes: encoded.
        source_of: source number of each document, (documents,).
        sources: number of sources.
        top: strongest documents to keep for each feature.
        group: processes that share the shards.
    """
    features, own = codes.features, range(len(codes))[group.share(len(codes))]
    statistics = Statistics(
        count=np.zeros(features, dtype=np.int64),
        total=np.zeros(features),
        squares=np.zeros(features),
        maximum=np.zeros(features, dtype=np.float32),
        histogram=np.zeros((features, len(HISTOGRAM_EDGES) - 1), dtype=np.int64),
        by_source=np.zeros((features, sources), dtype=np.int64),
        by_role=np.zeros((features, len(ROLES)), dtype=np.int64),
        top=LargestOfEach(features, top),
        sample=LargestOfEach(features, _SAMPLE),
        source_pairs=np.zeros(sources, dtype=np.int64),
        role_pairs=np.zeros(len(ROLES), dtype=np.int64),
        held_out=codes.held_out(),
        total_variance=codes.total_variance(),
    )
    generator = _keys_after(_drawn_before(codes, own, group) if group.size > 1 else 0)
    mine = sum(facts.train + facts.held_out for facts in codes.store.manifest.shards[own.start : own.stop])
    with progress.bar("features: statistics", mine, "pairs", shown=group.leads) as bar:
        for shard in own:
            rows = codes.store.rows(shard)
            kept = np.flatnonzero(codes.store.keep(shard, rows))
            shard_codes = codes.shard(shard)
            _count(statistics, shard_codes, source_of[rows.document], rows, kept)
            _keep_documents(statistics, shard_codes, shard, rows, generator)
            bar.update(len(kept))
    if group.size > 1:
        statistics.gather(group)
    return statistics


def rank_in_group(groups: Ints) -> Ints:
    """Position of each entry among those of its group, from sorted group numbers."""
    starts = _starts(groups)
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))


def global_row(shard: int, rows: Ints) -> Ints:
    """One number for a row of a shard; `divmod` by 2³² gives both back."""
    return (shard << 32) + rows


def _count(statistics: Statistics, codes: ShardCodes, sources: Ints, rows: Rows, kept: Ints) -> None:
    """Take in a shard: its codes, the source of each of its rows, where these come from, and which of them count."""
    statistics.pairs += len(kept)
    statistics.source_pairs += np.bincount(sources[kept], minlength=len(statistics.source_pairs))
    statistics.role_pairs += np.bincount(rows.role[kept], minlength=len(statistics.role_pairs))
    statistics.count += codes.counts
    fired = np.flatnonzero(codes.counts)
    if not len(fired):
        return
    starts, values = (np.cumsum(codes.counts) - codes.counts)[fired], codes.values
    statistics.total[fired] += np.add.reduceat(values, starts, dtype=np.float64)
    statistics.squares[fired] += np.add.reduceat(np.square(values, dtype=np.float64), starts)
    statistics.maximum[fired] = np.maximum(statistics.maximum[fired], np.maximum.reduceat(values, starts))
    cells = np.searchsorted(HISTOGRAM_EDGES, values, side="right") - 1
    cells = cells.clip(0, statistics.histogram.shape[1] - 1)
    for table, column in (
        (statistics.histogram, cells),
        (statistics.by_source, sources[codes.rows]),
        (statistics.by_role, rows.role[codes.rows]),
    ):
        # Only what fired is touched: a shard may hold fewer entries than the table has cells.
        np.add.at(table.reshape(-1), codes.features * table.shape[1] + column, 1)


def _keep_documents(
    statistics: Statistics, codes: ShardCodes, shard: int, rows: Rows, generator: np.random.Generator
) -> None:
    """Offer each feature's peak in each document, so that no document is shown twice."""
    if not len(codes.values):
        return
    starts = _firings_in_documents(codes, rows)
    highest = np.maximum.reduceat(codes.values, starts)
    sizes = np.diff(np.append(starts, len(codes.values)))
    reached = np.flatnonzero(codes.values == np.repeat(highest, sizes))
    peaks = reached[np.searchsorted(reached, starts)]  # the first of equals
    features, origin = codes.features[peaks], global_row(shard, codes.rows[peaks])
    statistics.top.offer(features, highest, highest, origin)
    statistics.sample.offer(features, generator.random(len(peaks), dtype=np.float32), highest, origin)


def _firings_in_documents(codes: ShardCodes, rows: Rows) -> Ints:
    """Where the entries of each feature in each document begin."""
    # A shard's documents follow each other, so the entries of a feature in a document do too.
    return _starts((codes.features << 32) + rows.document[codes.rows])


def _drawn_before(codes: CodesOnDisk, shards: Iterable[int], group: Group) -> int:
    """How many keys the processes before this one draw: one for each feature and document in which it fires."""
    own = sum(len(_firings_in_documents(codes.shard(shard), codes.store.rows(shard))) for shard in shards)
    counts = torch.cat(group.gather(torch.tensor([own])))
    return int(counts[: group.rank].sum())


def _keys_after(drawn: int) -> np.random.Generator:
    """What draws the sample's keys, as it is after so many of them; each takes 32 of the 64 bits of a step."""
    bits = np.random.PCG64(0)
    bits.advance(drawn // 2)
    generator = np.random.Generator(bits)
    generator.random(drawn % 2, dtype=np.float32)
    return generator


def _starts(groups: Ints) -> Ints:
    """Where each group begins, from sorted group numbers."""
    return np.flatnonzero(np.append(True, groups[1:] != groups[:-1])[: len(groups)])
