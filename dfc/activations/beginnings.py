"""How surprised each model is by the beginnings of documents: what it has lost up to each of their pairs.

What is measured is spread over as many documents as there are, since a document counts as one observation. It is
measured while a model is harvested, by going on from the site with what has been read, or in a pass of its own where
that cannot be or where something else is asked for later. It is kept beside the activations, shard by shard:

    activations/surprise/
        a-00000-5f1c09ab.npz    (pairs,) float32 nats that model A lost from a document's beginning to each of its pairs
        b-00000-77d20e1f.npz    likewise; of the shard's beginnings, and of these weights, tokenizer and settings

An archive of one array, since it has a checksum of its own.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Self
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor

from dfc import models
from dfc.activations import shards
from dfc.activations.batches import Limit, paired_rows
from dfc.activations.shards import ActivationStore
from dfc.config import BEGINNING_WINDOWS, SIDES, Side, UserError
from dfc.machine import disk, progress
from dfc.models import losses, origin
from dfc.runs import Run

Counts = npt.NDArray[np.int64]
"""Pairs of each document, (documents,)."""


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes:
        pairs: of all shards together, at most.
        window: pairs that are looked ahead.
        shards: pairs of each shard.
    """

    pairs: int
    window: int
    shards: tuple[int, ...]

    @classmethod
    def of(cls, store: ActivationStore, pairs: int, window: int) -> Self:
        """Of a store's shards."""
        return cls(pairs, window, tuple(one.pairs for one in store.manifest.shards))

    def first_pairs(self, shard: int, held: Counts) -> Counts:
        """How many pairs of each of a shard's documents are measured, (documents,), where each holds so many.

        From each document as many as from any, as far as it has them; but at least some windows' worth, so that where
        there are too many documents for that, the last ones go without.
        """
        share, lengths = self._share(shard), range(int(held.max(initial=0)) + 1)
        longest = bisect_right(lengths, share, key=lambda length: np.minimum(held, length).sum()) - 1
        cut = np.minimum(held, max(longest, BEGINNING_WINDOWS * self.window))
        return np.where(np.cumsum(cut) <= share, cut, 0)

    def path(self, folder: Path, side: Side, shard: int, weights: str, tokenizer: str) -> Path:
        """Where it is kept what a model lost, whose weights and tokenizer are given by their fingerprints."""
        of = zlib.crc32(f"{weights} {tokenizer} {self.pairs} {self.window}".encode())
        return folder / "surprise" / f"{side}-{shard:05d}-{of:08x}.npz"

    def _share(self, shard: int) -> int:
        """How many of all pairs a shard has to give.

        Where that is less than the beginning of one document, every so-manieth shard gives that of one.
        """
        total, least = sum(self.shards), BEGINNING_WINDOWS * self.window
        if 0 < self.pairs * max(self.shards) < least * total:
            every = -(-len(self.shards) // max(1, self.pairs // least))
            return least if shard % every == 0 else 0
        return -(-self.pairs * self.shards[shard] // total)


def measure(run: Run, pairs: int, window: int, sides: Sequence[Side] = SIDES) -> None:
    """Run models over the beginnings of documents, so many pairs in all, and write how surprised they are.

    What was measured before stays, as long as the same is asked for; what was measured for anything else goes.

    Args:
        run: whose documents are paired and harvested.
        pairs: of all shards together, at most.
        window: pairs that are looked ahead.
        sides: whose surprise is wanted.

    Raises:
        UserError: if a model does not load or is not the one that was harvested, or the activations are damaged.
    """
    store = ActivationStore(run.activations)
    extent = Extent.of(store, pairs, window)
    own = _first_pairs(store, extent)
    for side in sides:
        known = [read(store, extent, side, shard, counts.sum()) for shard, counts in enumerate(own)]
        missing = {shard: counts for shard, counts in enumerate(own) if known[shard] is None}
        if missing:
            _measure_side(run, store, extent, side, missing)
    current = {kept_at(store, extent, side, shard) for side in SIDES for shard in range(len(store))}
    for path in set((store.folder / "surprise").glob("*.np?")) - current:
        path.unlink()


def pairs_held(folder: Path, shard: int) -> Counts:
    """Pairs of each document of a shard of an activation store, (documents,)."""
    return pc.list_value_length(shards.read_tokens(folder, shard, ["ends"])["ends"]).to_numpy().astype(np.int64)


def read(store: ActivationStore, extent: Extent, side: Side, shard: int, pairs: int) -> npt.NDArray[np.float32] | None:
    """What a model lost up to each of the pairs that are measured of a shard; None if that was not measured.

    Raises:
        UserError: if what was measured is damaged.
    """
    path = kept_at(store, extent, side, shard)
    if not path.exists():
        return None
    remedy = f"delete {path.parent} and run `python -m dfc verify {store.folder.parent}`"
    with disk.reading(path, remedy, BadZipFile), np.load(path, allow_pickle=False) as archive:
        lost: npt.NDArray[np.float32] = archive["lost"]
    return lost if lost.shape == (pairs,) else None


def unknown(store: ActivationStore, pairs: int, window: int) -> dict[Side, float]:
    """The share of what was measured of each model that is no finite number, as where half precision overflows."""
    extent = Extent.of(store, pairs, window)
    totals = [int(counts.sum()) for counts in _first_pairs(store, extent)]
    shares: dict[Side, float] = {}
    for side in SIDES:
        lost = (read(store, extent, side, shard, total) for shard, total in enumerate(totals))
        missed = sum(int((~np.isfinite(one)).sum()) for one in lost if one is not None)
        shares[side] = missed / max(1, sum(totals))
    return shares


def kept_at(store: ActivationStore, extent: Extent, side: Side, shard: int) -> Path:
    """Where it is kept what a model of a store lost."""
    facts = store.manifest.side(side)
    return extent.path(store.folder, side, shard, facts.weights, facts.tokenizer)


def write(path: Path, lost: Tensor) -> None:
    """Keep what a model lost up to each of the pairs that are measured of a shard, (pairs,) float32."""
    array = ZipInfo("lost.npy")  # without the time, so that the same is written again
    with disk.replacing(path) as temporary, ZipFile(temporary, "w") as archive, archive.open(array, "w") as file:
        np.lib.format.write_array(file, lost.numpy(), allow_pickle=False)


def repair(run: Run) -> list[str]:
    """Measure again what is damaged of a harvested run; what was found, file by file.

    Raises:
        UserError: if a model does not load, or the activations are damaged.
    """
    store, evidence, problems = ActivationStore(run.activations), run.config().evidence, list[str]()
    extent = Extent.of(store, evidence.surprise_pairs, evidence.surprise_window)
    for side, shard in product(SIDES, range(len(store))):
        try:
            read(store, extent, side, shard, 0)
        except UserError as error:
            problems.append(error.problem)
            kept_at(store, extent, side, shard).unlink()
    if problems:
        measure(run, extent.pairs, extent.window)
    return problems


def _first_pairs(store: ActivationStore, extent: Extent) -> list[Counts]:
    """How many pairs of each document are measured, shard by shard."""
    return [extent.first_pairs(shard, pairs_held(store.folder, shard)) for shard in range(len(store))]


def _measure_side(run: Run, store: ActivationStore, extent: Extent, side: Side, missing: dict[int, Counts]) -> None:
    config, facts = run.config(), store.manifest.side(side)
    if (weights := origin.weights(config.models.side(side))) != facts.weights:
        raise UserError(
            f"{facts.source}: holds other weights ({weights:.16}) than when its activations were harvested "
            f"({facts.weights:.16}); bring those back, or harvest again."
        )
    model = models.load(config.models.side(side))
    texts = {shard: _tokens(store, shard, side, counts) for shard, counts in missing.items()}
    total = sum(len(ids) for documents, _ in texts.values() for ids in documents)
    limit = Limit(config.harvest, model)
    with progress.bar(f"surprise of {model.title}"[:22], total, "tokens") as bar, model.lock:
        tried = max((ids for documents, _ in texts.values() for ids in documents), key=len, default=[])
        lose = losses.by_words if losses.agree(model, tried) else losses.plain
        if lose is losses.plain:
            limit.tokens = min(limit.tokens, losses.plain_tokens(model))

        def lost(ids: Tensor, mask: Tensor) -> list[Tensor]:
            return [lose(model, ids, mask).cumsum(1)[..., None]]

        for shard, (ids, paired) in texts.items():
            rows = paired_rows(ids, paired, lost, limit, model, bar.update)
            write(kept_at(store, extent, side, shard), rows[0][:, 0] if rows else torch.empty(0))


def _tokens(store: ActivationStore, shard: int, side: Side, counts: Counts) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the beginnings, each to its last pair that is measured, and which of them are paired."""
    table = shards.read_tokens(store.folder, shard, [f"ids_{side}", f"index_{side}"])
    columns = (table[name].to_pylist() for name in table.column_names)
    measured = [(ids, index[:count]) for ids, index, count in zip(*columns, counts.tolist(), strict=True) if count]
    return [ids[: max(index) + 1] for ids, index in measured], [index for _, index in measured]
