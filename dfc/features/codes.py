"""The sparse codes of a run's kept pairs on disk, a file for each shard: every pair is encoded once.

Statistics, contexts and co-activation read them here. A killed `index` finds what it had
encoded and goes on with the next shard; when the feature store is written, they go.

    index.part/
        key.json            hashes of the crosscoder, the activations and the settings that these belong to
        00000.safetensors   codes of a shard sorted by feature, how well its held-out pairs are explained, and how far
                            all its pairs spread
        logits_a.parquet    other results of the index that are not made twice
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from dfc import runs
from dfc.activations.loader import KeptRows, kept_rows
from dfc.activations.scales import Spread
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, SIDES, Partition, UserError
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.variance import ExplainedVariance
from dfc.machine import progress
from dfc.runs import Run

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_BYTES = 8  # of an entry on disk
_FORM = 2  # of a shard's file; one that an older version left is made anew


@dataclass(frozen=True)
class ShardCodes:
    """Sparse codes of a shard's kept rows, sorted by feature and row.

    Attributes:
        counts: entries of each feature, (features,).
        rows: row within the shard, (entries,).
        values: activations, (entries,).
    """

    counts: Ints
    rows: Ints
    values: Floats

    @cached_property
    def features(self) -> Ints:
        """Global id of each entry's feature, (entries,)."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


@dataclass(frozen=True)
class HeldOut:
    """How well held-out pairs are explained: by all features, and by all but those of a partition."""

    all: ExplainedVariance
    without: dict[Partition, ExplainedVariance]

    @classmethod
    def of(cls, crosscoder: Crosscoder) -> HeldOut:
        """Of no pairs yet."""
        there = {part.partition for part in crosscoder.parts}
        widths = crosscoder.widths
        without: dict[Partition, ExplainedVariance] = {
            partition: ExplainedVariance(widths) for partition in PARTITIONS if partition in there
        }
        return cls(ExplainedVariance(widths), without)

    @torch.no_grad()
    def add(self, crosscoder: Crosscoder, x: torch.Tensor, codes: Codes) -> None:
        """Take in scaled rows, (rows, width_a + width_b), and their codes."""
        centred = x - crosscoder.decoder_bias
        share: dict[Partition, torch.Tensor] = {}
        for partition in self.without:
            parts = [part for part in crosscoder.parts if part.partition == partition]
            first, stop = parts[0].first_id, parts[-1].first_id + len(parts[-1])
            mine = (codes.features >= first) & (codes.features < stop)
            own = Codes(codes.rows[mine], codes.features[mine], codes.values[mine])
            share[partition] = crosscoder.decode(own, len(x)) - crosscoder.decoder_bias
        residual = centred - sum(share.values())
        self.all.add(centred, residual)
        for partition, variance in self.without.items():
            variance.add(centred, residual + share[partition])

    def merge(self, rows: int, sums: npt.NDArray[np.float64]) -> None:
        """Take in what `sums` gave of other rows."""
        for variance, own in zip((self.all, *self.without.values()), sums, strict=True):
            variance.rows += rows
            variance.sums += torch.from_numpy(own)

    def sums(self) -> npt.NDArray[np.float64]:
        """All that is known, (1 + partitions, 3, width_a + width_b)."""
        return torch.stack([self.all.sums, *(variance.sums for variance in self.without.values())]).numpy()

    def added(self) -> dict[str, dict[str, float]]:
        """For each partition and side, by how much the FVE falls when the partition's features are left out."""
        whole = self.all.fve()
        return {
            partition: {side: whole[place] - variance.fve()[place] for place, side in enumerate(SIDES)}
            for partition, variance in self.without.items()
        }


class CodesOnDisk:
    """The codes of all kept pairs of a run, and other results that an interrupted index has left.

    Args:
        folder: where they lie.
        key: what they depend on; what lies there and belongs to another key is discarded.
        crosscoder: trained.
        store: its activations.
        batch: pairs encoded at once.
    """

    def __init__(self, folder: Path, key: str, crosscoder: Crosscoder, store: ActivationStore, batch: int) -> None:
        self.folder = folder
        self.crosscoder = crosscoder
        self.store = store
        self._batch = batch
        path = folder / "key.json"
        if folder.exists() and not (path.exists() and path.read_text(errors="replace") == key):
            self.discard()
        runs.write_text(path, key)

    @classmethod
    def of(cls, run: Run, crosscoder: Crosscoder, store: ActivationStore, batch: int) -> CodesOnDisk:
        """Those of a run; other weights, activations or settings make others."""
        return cls(run.path / "index.part", json.dumps(_key(run), indent=1), crosscoder, store, batch)

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.store)

    @property
    def features(self) -> int:
        return self.crosscoder.config.features

    def encode(self) -> None:
        """Encode the shards that are not there yet.

        Raises:
            UserError: if their codes do not fit on the disk.
        """
        missing = [shard for shard in range(len(self)) if not self._path(shard).exists()]
        kept = [facts.train + facts.held_out for facts in self.store.manifest.shards]
        left = sum(kept[shard] for shard in missing)
        self._check_disk(left)
        with progress.bar("features: codes", sum(kept), "pairs", done=sum(kept) - left) as bar:
            for shard in missing:
                rows = kept_rows(self.store, shard)
                held_out = HeldOut.of(self.crosscoder)
                spread = self._spread()
                spread.add(rows.x)
                codes = encode_shard(self.crosscoder, rows, self._batch, held_out)
                content = {
                    "counts": codes.counts.astype(np.int32),
                    "rows": codes.rows.astype(np.int32),
                    "values": codes.values,
                    "held_out_rows": np.array([held_out.all.rows]),
                    "held_out_sums": held_out.sums(),
                    "kept_rows": np.array([spread.rows]),
                    "kept_sums": spread.sums.numpy(),
                }
                with runs.replacing(self._path(shard)) as temporary:
                    save_file(content, temporary)
                bar.update(len(rows.x))

    def shard(self, shard: int) -> ShardCodes:
        """Codes of one shard.

        Raises:
            UserError: if the file is damaged.
        """
        content = self._read(shard)
        return ShardCodes(content["counts"].astype(np.int64), content["rows"].astype(np.int64), content["values"])

    def held_out(self) -> HeldOut:
        """How well all held-out pairs are explained."""
        result = HeldOut.of(self.crosscoder)
        for shard in range(len(self)):
            content = self._read(shard)
            result.merge(int(content["held_out_rows"][0]), content["held_out_sums"])
        return result

    def total_variance(self) -> tuple[float, float]:
        """Of model A's scaled stream and of B's, over all kept pairs: what a loss finds there before anything is said.

        NaN without pairs.
        """
        whole = self._spread()
        for shard in range(len(self)):
            content = self._read(shard)
            whole.rows += int(content["kept_rows"][0])
            whole.sums += torch.from_numpy(content["kept_sums"])
        a, b = whole.variances().split(self.crosscoder.widths)
        return float(a.sum()), float(b.sum())

    def _spread(self) -> Spread:
        return Spread(self.crosscoder.decoder_bias.detach())

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """A table that is made at most once."""
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            with runs.replacing(path) as temporary:
                pq.write_table(make(), temporary, compression="zstd")
        with runs.reading(path, self._remedy):
            return pq.read_table(path)

    def discard(self) -> None:
        """Remove everything; the key first, so that what a crash leaves of it is never used."""
        (self.folder / "key.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    @property
    def _remedy(self) -> str:
        return f"delete {self.folder} and run `python -m dfc index {self.folder.parent}` again"

    def _read(self, shard: int) -> dict[str, npt.NDArray[Any]]:
        path = self._path(shard)
        with runs.reading(path, self._remedy, SafetensorError):
            return load_file(path)

    def _path(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.safetensors"

    def _check_disk(self, pairs: int) -> None:
        need = pairs * self.crosscoder.config.k * _BYTES
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise UserError(
                f"{self.folder}: the codes of {pairs:,} pairs need {need / 1e9:.1f} GB while the index is made, and "
                f"{free / 1e9:.1f} GB are free on this disk; make room, or set DFC_DATA to another disk."
            )


def encode_shard(crosscoder: Crosscoder, rows: KeptRows, batch: int, held_out: HeldOut | None = None) -> ShardCodes:
    """Codes of a shard's kept rows, `batch` rows encoded at once.

    With `held_out`, that takes in how well the held-out ones among them are explained.
    """
    encoded, where = [], []
    for x, row, out in zip(rows.x.split(batch), rows.row.split(batch), rows.held_out.split(batch), strict=True):
        codes = crosscoder.encode(x)
        encoded.append(codes)
        where.append(row[codes.rows])
        if held_out is not None and bool(out.any()):
            mine = out[codes.rows]
            place = out.cumsum(0) - 1  # of each row among those held out
            held_out.add(crosscoder, x[out], Codes(place[codes.rows[mine]], codes.features[mine], codes.values[mine]))
    row = torch.cat(where).numpy()
    feature = torch.cat([codes.features for codes in encoded]).numpy()
    value = torch.cat([codes.values for codes in encoded]).numpy()
    features = crosscoder.config.features
    # A feature's rows came in order, and numpy sorts small numbers several times as fast.
    order = np.argsort(feature.astype(np.uint16) if features <= 1 << 16 else feature, kind="stable")
    counts = np.bincount(feature, minlength=features)
    return ShardCodes(counts, row[order], value[order])


def _key(run: Run) -> dict[str, Any]:
    """What codes and tables depend on; a shard's facts hold the checksums of its rows."""
    config = run.config()
    facts = hashlib.blake2b(digest_size=16)
    for path in [run.activations / "manifest.json", *sorted(run.activations.glob("[ab]/*.json"))]:
        facts.update(path.read_bytes())
    return {
        "form": _FORM,
        "crosscoder": _digest(run.crosscoder / "model.safetensors"),
        "activations": facts.hexdigest(),
        "corpus": _digest(run.corpus),
        "index": config.index.deciding(),
        "models": config.models.deciding(),
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
