"""Sums over all kept pairs from which everything linear about streams and features follows.

One pass collects them, apart for training and for held-out documents, on the crosscoder's device; several processes
take a share of the shards each, and the first has the sums of all. Memory grows with the dictionary times the width of
both streams, never with the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.activations.loader import kept_rows
from dfc.config import Side, UserError
from dfc.crosscoder.batch_topk import argsort, weighted_sums
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.evidence.following import Following
from dfc.features.codes import CodesOnDisk
from dfc.machine import progress
from dfc.machine.processes import ALONE, Group

_FEATURES_AT_ONCE = 4_096
Ints = npt.NDArray[np.int64]
Follows = Callable[[int], Following]


@dataclass(frozen=True)
class Batch:
    """Rows of one kind that are taken in together.

    Attributes:
        held_out: whether their documents were kept out of training.
        x: scaled, the two streams side by side, (rows, width_a + width_b).
        codes: of these rows, sorted by feature.
        document, source: of each row, (rows,); documents of one kind come in the order of their numbers.
        following: what follows each row; None if it was not measured.
    """

    held_out: bool
    x: Tensor
    codes: Codes
    document: Tensor
    source: Tensor
    following: Following | None = None


class Observer(Protocol):
    """What is shown every batch of rows, and can bring together what several processes were shown."""

    def observe(self, batch: Batch) -> None:
        """Take in a batch, on the CPU."""

    def gather(self, group: Group) -> None:
        """In the first process, take in what all were shown."""


class Count(NamedTuple):
    """How many rows there are, and how many of these are held out."""

    kept: int
    held_out: int


@dataclass(frozen=True)
class Rows:
    """All rows that evidence is collected over.

    Attributes:
        batches: this process's.
        shares: how many each process has; their rows follow each other in the order of the processes.
        sources: how many sources they come from.
        group: the processes.
    """

    batches: Iterable[Batch]
    shares: Sequence[Count]
    sources: int
    group: Group = ALONE

    @property
    def own(self) -> Count:
        """Rows of this process."""
        return self.shares[self.group.rank]

    @property
    def before(self) -> Count:
        """Rows of the processes before this one."""
        return _total(self.shares[: self.group.rank])

    @property
    def all(self) -> Count:
        """Rows of all processes."""
        return _total(self.shares)


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
    def empty(cls, features: int, widths: tuple[int, int], device: torch.device) -> Self:
        """Sums over no rows."""
        width = sum(widths)
        return cls(
            widths,
            0,
            torch.zeros(width, dtype=torch.float64, device=device),
            torch.zeros(width, width, dtype=torch.float64, device=device),
            torch.zeros(features, dtype=torch.long, device=device),
            torch.zeros(features, dtype=torch.float64, device=device),
            torch.zeros(features, dtype=torch.float64, device=device),
            torch.zeros(features, width, device=device),
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

    def added(self, group: Group) -> Self:
        """In the first process those over all processes' rows, on the CPU."""
        tensors = (self.x, self.xx, self.firings, self.z, self.zz, self.zx)
        return type(self)(self.widths, group.total(self.rows), *map(group.added, tensors))

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
        by_source, source_pairs: firings in each source, (features, sources), and its pairs, (sources,).
        documents: in how many documents each feature fires, (features,).

    Rows of codes are counted among the drawn ones; codes are sorted by feature.
    """

    train: Sums
    held_out: Sums
    rebuilt: Tensor
    sample: Tensor
    sample_codes: Codes
    pairs: int
    codes: Codes
    by_source: Tensor
    source_pairs: Tensor
    documents: Tensor

    @property
    def firings(self) -> Tensor:
        """Pairs on which each feature fires, (features,)."""
        return self.train.firings + self.held_out.firings


def stored_rows(
    encoded: CodesOnDisk,
    source_of: Ints,
    sources: int,
    batch: int,
    follows: Follows | None = None,
    group: Group = ALONE,
) -> Rows:
    """All kept pairs of a run, those of a share of the shards in each process.

    Args:
        encoded: its codes, beside its activations.
        source_of: source of each document, (documents,).
        sources: how many there are.
        batch: rows taken in at once, at most.
        follows: gives what follows each row of a shard, from the shard's number.
        group: processes that share the shards.

    Raises:
        UserError: if no document was held out, or none was left for training.
    """
    store = encoded.store
    facts = [Count(shard.train + shard.held_out, shard.held_out) for shard in store.manifest.shards]
    kept, held_out = _total(facts)
    if not 0 < held_out < kept:
        raise UserError(
            f"{store.folder}: has {kept - held_out} pairs for training and {held_out} held "
            f"out, and evidence needs both; raise corpus.pairs or change corpus.held_out."
        )
    shares = [Group(rank, group.size).share(len(facts)) for rank in range(group.size)]
    batches = _batches(encoded, range(len(facts))[shares[group.rank]], torch.from_numpy(source_of), batch, follows)
    return Rows(batches, [_total(facts[share]) for share in shares], sources, group)


@torch.no_grad()
def collect(
    crosscoder: Crosscoder, rows: Rows, sample_rows: int, sample_pairs: int, observers: Sequence[Observer] = ()
) -> Collected:
    """One pass over all rows.

    Sums are made where the crosscoder lies. In the first process what is returned, on the CPU, and what observers have
    is of all processes' rows; elsewhere it is of no use.

    Args:
        crosscoder: trained.
        rows: some held out, some not.
        sample_rows: held-out rows to keep, at most.
        sample_pairs: pairs whose codes to keep, at most.
        observers: are shown every batch, too.
    """
    features, device, group = crosscoder.config.features, crosscoder.device, rows.group
    sums = {out: Sums.empty(features, crosscoder.widths, device) for out in (False, True)}
    rebuilt = torch.zeros(exclusive_count(crosscoder), sum(crosscoder.widths), device=device)
    sample = Thinned(rows.all.held_out, sample_rows, rows.before.held_out)
    pairs = Thinned(rows.all.kept, sample_pairs, rows.before.kept)
    places = _Places(features, rows.sources, device)
    kept = [torch.zeros(0, sum(crosscoder.widths))]
    with progress.bar("evidence: moments", rows.own.kept, "pairs", shown=group.leads) as bar:
        for batch in rows.batches:
            x, codes = batch.x.to(device) - crosscoder.decoder_bias, batch.codes.to(device)
            back = crosscoder.decode(_take(codes, argsort(codes.rows)), len(x)) - crosscoder.decoder_bias
            sums[batch.held_out].add(x, codes)
            add_products(rebuilt, of_features(codes, 0, len(rebuilt)), back)
            places.add(codes, batch.document.to(device), batch.source.to(device), batch.held_out)
            for observer in observers:
                observer.observe(batch)
            if batch.held_out:
                kept.append(x[sample.take(batch.codes, len(x)).to(device)].cpu())
            pairs.take(batch.codes, len(x))
            bar.update(len(x))
    for observer in observers:
        observer.gather(group)
    return Collected(
        sums[False].added(group),
        sums[True].added(group),
        group.added(rebuilt),
        group.collect(torch.cat(kept)),
        sample.codes(group),
        group.total(pairs.count),
        pairs.codes(group),
        group.added(places.by_source),
        group.added(places.source_pairs),
        group.added(places.documents),
    )


def add_products(sums: Tensor, codes: Codes, x: Tensor) -> None:
    """Add Σ z x over the rows to `sums`, (features, width), from codes sorted by feature."""
    touched, place = torch.unique_consecutive(codes.features, return_inverse=True)
    for first in range(0, len(touched), _FEATURES_AT_ONCE):
        own = touched[first : first + _FEATURES_AT_ONCE]
        bounds = torch.tensor([first, first + len(own)], device=place.device)
        start, stop = torch.searchsorted(place, bounds).tolist()
        part = slice(start, stop)
        sums[own] += weighted_sums(place[part] - first, codes.rows[part], codes.values[part], x, len(own))


def by_feature(codes: Codes) -> Codes:
    """The same codes, sorted by feature."""
    return _take(codes, argsort(codes.features))


def exclusive_count(crosscoder: Crosscoder) -> int:
    """Number of features that only one model may use; these have the first ids."""
    return sum(len(part) for part in crosscoder.parts if part.partition != "shared")


def of_features(codes: Codes, first: int, stop: int) -> Codes:
    """Codes of consecutive features, counted from the first of these; `codes` sorted by feature."""
    bounds = torch.tensor([first, stop], device=codes.features.device)
    begin, end = torch.searchsorted(codes.features, bounds).tolist()
    part = slice(begin, end)
    return Codes(codes.rows[part], codes.features[part] - first, codes.values[part])


def _total(counts: Iterable[Count]) -> Count:
    return Count(*map(sum, zip(Count(0, 0), *counts, strict=True)))


def _batches(
    encoded: CodesOnDisk, shards: Iterable[int], source_of: Tensor, batch: int, follows: Follows | None
) -> Iterator[Batch]:
    for shard in shards:
        rows, codes = kept_rows(encoded.store, shard), encoded.shard(shard)
        coming = None if follows is None else follows(shard).take(rows.row)
        kinds = ((out, (rows.held_out == out).nonzero()[:, 0]) for out in (False, True))
        parts = [(out, chosen) for out, mine in kinds if len(mine) for chosen in mine.split(batch)]
        of_each = codes.of_each([rows.row[chosen].numpy() for _, chosen in parts])
        for (out, chosen), own in zip(parts, of_each, strict=True):
            document = rows.document[chosen]
            after = None if coming is None else coming.take(chosen)
            yield Batch(out, rows.x[chosen], own, document, source_of[document], after)


class _Places:
    """In which sources, and in how many documents, every feature fires; no document is in two shards."""

    def __init__(self, features: int, sources: int, device: torch.device) -> None:
        self.by_source = torch.zeros(features, sources, dtype=torch.long, device=device)
        self.source_pairs = torch.zeros(sources, dtype=torch.long, device=device)
        self.documents = torch.zeros(features, dtype=torch.long, device=device)
        # A batch may begin within a document that the last one of its kind began.
        self._latest = {out: torch.full((features,), -1, device=device) for out in (False, True)}

    def add(self, codes: Codes, documents: Tensor, source: Tensor, held_out: bool) -> None:
        """Take in a batch: its codes, and of each of its rows document and source."""
        features, sources = self.by_source.shape
        self.source_pairs += torch.bincount(source, minlength=sources)
        cells = codes.features * sources + source[codes.rows]
        self.by_source += torch.bincount(cells, minlength=features * sources).view(features, sources)
        most = int(documents.max()) + 1
        distinct = torch.unique(codes.features * most + documents[codes.rows])
        feature, document = distinct // most, distinct % most
        latest = self._latest[held_out]
        self.documents += torch.bincount(feature[document > latest[feature]], minlength=features)
        latest.scatter_reduce_(0, feature, document, "amax")


class Thinned:
    """Codes of evenly drawn rows: of so many in all, at most so many.

    Args:
        rows: in all.
        most: to draw.
        before: of these, how many other processes take that come before this one.

    Attributes:
        count: rows drawn so far.
    """

    def __init__(self, rows: int, most: int, before: int = 0) -> None:
        self.count = 0
        self._step = -(-rows // most)
        self._seen = before
        self._drawn_before = -(-before // self._step)
        nothing = torch.zeros(0, dtype=torch.long)
        self._parts = [Codes(nothing, nothing, torch.zeros(0))]  # a process may have no rows

    def take(self, codes: Codes, rows: int) -> Tensor:
        """Draw from a batch of rows, and say which of its rows were drawn, (drawn,)."""
        first = -self._seen % self._step
        drawn = torch.arange(min(first, rows), rows, self._step)
        kept = _take(codes, codes.rows % self._step == first)
        place = kept.rows // self._step + self._drawn_before + self.count
        self._parts.append(Codes(place, kept.features, kept.values))
        self._seen += rows
        self.count += len(drawn)
        return drawn

    def codes(self, group: Group = ALONE) -> Codes:
        """All that were drawn, in the first process by all, sorted by feature."""
        columns = (torch.cat([getattr(part, name) for part in self._parts]) for name in Codes.__annotations__)
        return by_feature(Codes(*map(group.collect, columns)))


def _take(codes: Codes, chosen: Tensor) -> Codes:
    return Codes(codes.rows[chosen], codes.features[chosen], codes.values[chosen])
