"""Shuffled batches for training, and all kept rows in order for everything that measures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from dfc.activations.shards import ActivationStore
from dfc.config import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class KeptRows:
    """Kept rows of one shard.

    Attributes:
        shard: its number.
        x: the two streams side by side, scaled, (rows, width_a + width_b) float32.
        row: index of each within the shard, (rows,).
        document: document of each, (rows,).
        held_out: whether that document was kept out of training, (rows,).
    """

    shard: int
    x: Tensor
    row: Tensor
    document: Tensor
    held_out: Tensor


def training_batches(
    store: ActivationStore, batch: int, window_shards: int, seed: int, skip: int = 0
) -> Iterator[Tensor]:
    """Endless batches (batch, width_a + width_b) of scaled training rows, in an order fixed by the seed.

    Shards are read whole and in random order, and batches are gathered, ahead of time in threads; rows are shuffled
    across a window of several shards. A window's last rows that do not fill a batch are left out of that epoch.

    Args:
        store: where the rows lie.
        batch: rows in a batch.
        window_shards: shards shuffled together.
        seed: of the order.
        skip: batches to leave out at the start, without reading what they alone need.

    Raises:
        UserError: if there are fewer training rows than one batch.
    """
    scale = store.column_scale()
    windows = _windows(store, batch, window_shards, seed, skip)
    read = ((torch.cat([store.raw(s)[_training_places(store, s)] for s in shards]), order) for shards, order in windows)
    ahead = ((rows, indices) for rows, chosen in read_ahead(read) for indices in chosen)
    yield from read_ahead(rows[indices].float() * scale for rows, indices in ahead)


def rows_of_batch(
    store: ActivationStore, batch: int, window_shards: int, seed: int, number: int
) -> list[tuple[int, int]]:
    """(shard, row) of each row of the batch that `training_batches` gives as its `number`-th."""
    shards, batches = next(_windows(store, batch, window_shards, seed, number))
    places = [(shard, row) for shard in shards for row in _training_places(store, shard).tolist()]
    return [places[index] for index in batches[0].tolist()]


def kept_rows(store: ActivationStore, shard: int) -> KeptRows:
    """All rows of a shard that are neither first positions nor outliers nor non-finite."""
    rows = store.rows(shard)
    keep = torch.from_numpy(store.keep(shard, rows))
    return KeptRows(
        shard,
        store.raw(shard)[keep].float() * store.column_scale(),
        keep.nonzero()[:, 0],
        torch.from_numpy(rows.document)[keep],
        torch.from_numpy(rows.held_out)[keep],
    )


def held_out_rows(store: ActivationStore, limit: int) -> Tensor:
    """The first `limit` kept rows of documents that were kept out of training, scaled.

    Raises:
        UserError: if there are none.
    """
    pieces: list[Tensor] = []
    for shard in range(len(store)):
        if sum(len(x) for x in pieces) >= limit:
            break
        rows = kept_rows(store, shard)
        pieces.append(rows.x[rows.held_out])
    result = torch.cat(pieces)[:limit]
    if not len(result):
        raise UserError(f"{store.folder}: no document was held out; raise corpus.held_out or corpus.pairs.")
    return result


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each computed in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _training_places(store: ActivationStore, shard: int) -> Tensor:
    """Rows of a shard that are trained on."""
    rows = store.rows(shard)
    return torch.from_numpy(np.flatnonzero(store.keep(shard, rows) & ~rows.held_out))


def _windows(
    store: ActivationStore, batch: int, window_shards: int, seed: int, skip: int
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Without end: the shards of a window, and for each batch in it the indices of its rows among the window's."""
    counts = [shard.train for shard in store.manifest.shards]
    if sum(counts) < batch:
        raise UserError(
            f"{store.folder}: holds {sum(counts)} pairs for training, fewer than one batch of {batch}; "
            f"raise corpus.pairs or lower training.batch."
        )
    for epoch in itertools.count():
        generator = np.random.default_rng([seed, epoch])
        for shards in _cut(generator.permutation(len(counts)).tolist(), counts, window_shards, batch):
            rows = sum(counts[shard] for shard in shards)
            order = torch.from_numpy(generator.permutation(rows))
            batches = list(order[: rows - rows % batch].split(batch))
            if skip < len(batches):
                yield shards, batches[skip:]
            skip = max(0, skip - len(batches))


def _cut(order: list[int], counts: list[int], shards: int, batch: int) -> Iterator[list[int]]:
    """Cut an order of shards into windows of at least so many shards and one batch."""
    window: list[int] = []
    for shard in order:
        window.append(shard)
        if len(window) >= shards and sum(counts[s] for s in window) >= batch:
            yield window
            window = []
    if window:
        yield window
