"""Shuffled batches for training, and all kept rows in order for everything that measures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfc.activations.shards import ActivationStore
from dfc.config import UserError


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

    Shards are read whole and in random order; rows are shuffled across a window of several.
    A window's last rows that do not fill a batch are left out of that epoch.

    Args:
        store: where the rows lie.
        batch: rows in a batch.
        window_shards: shards shuffled together.
        seed: of the order.
        skip: batches to leave out at the start, without reading what they alone need.

    Raises:
        UserError: if there are fewer training rows than one batch.
    """
    counts = [shard.train for shard in store.manifest.shards]
    if sum(counts) < batch:
        raise UserError(
            f"{store.folder}: holds {sum(counts)} pairs for training, fewer than one batch of {batch}; "
            f"raise corpus.pairs or lower training.batch."
        )
    scale = store.column_scale()
    epoch = 0
    while True:
        generator = np.random.default_rng([seed, epoch])
        for window in _windows(generator.permutation(len(counts)).tolist(), counts, window_shards, batch):
            batches = sum(counts[shard] for shard in window) // batch
            order = generator.permutation(sum(counts[shard] for shard in window))
            if skip >= batches:
                skip -= batches
                continue
            rows = torch.cat([_training_rows(store, shard) for shard in window])
            for index in range(skip, batches):
                chosen = torch.from_numpy(order[index * batch : (index + 1) * batch])
                yield rows[chosen].float() * scale
            skip = 0
        epoch += 1


def kept_rows(store: ActivationStore, shard: int) -> KeptRows:
    """All rows of a shard that are neither first positions nor outliers nor non-finite."""
    keep = torch.from_numpy(store.keep(shard))
    rows = store.rows(shard)
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
    found: list[Tensor] = []
    for shard in range(len(store)):
        if sum(len(x) for x in found) >= limit:
            break
        rows = kept_rows(store, shard)
        found.append(rows.x[rows.held_out])
    result = torch.cat(found)[:limit]
    if not len(result):
        raise UserError(f"{store.folder}: no document was held out; raise corpus.held_out or corpus.pairs.")
    return result


def _training_rows(store: ActivationStore, shard: int) -> Tensor:
    chosen = torch.from_numpy(store.keep(shard) & ~store.rows(shard).held_out)
    return store.raw(shard)[chosen]


def _windows(order: list[int], counts: list[int], shards: int, batch: int) -> Iterator[list[int]]:
    """Cut an order of shards into windows of at least so many shards and one batch."""
    window: list[int] = []
    for shard in order:
        window.append(shard)
        if len(window) >= shards and sum(counts[s] for s in window) >= batch:
            yield window
            window = []
    if window:
        yield window
