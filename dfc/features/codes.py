"""The sparse codes of a run's kept pairs on disk, a file for each shard: every pair is encoded once.

Statistics, contexts, co-activation, evidence and stability read them here; `encoding` writes them.

    codes/
        00000.safetensors   codes of a shard sorted by feature, how well its held-out pairs are explained, and how far
                            all its pairs spread; and a hash of what they were made from
        manifest.json       written last: how many pairs and activations there are
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dfc.activations.scales import Spread
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, SIDES, Partition
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.variance import ExplainedVariance
from dfc.machine import disk

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


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

    def of_rows(self, rows: Ints) -> Codes:
        """Codes of some rows of the shard, sorted by feature; `Codes.rows` are places among these.

        Args:
            rows: increasing, (some,).
        """
        number = np.full(1 + max(rows.max(initial=-1), self.rows.max(initial=-1)), -1)
        number[rows] = np.arange(len(rows))
        place = number[self.rows]
        mine = place >= 0
        return Codes(*(torch.from_numpy(column[mine]) for column in (place, self.features, self.values)))

    def of_each(self, parts: Sequence[Ints]) -> Iterator[Codes]:
        """What `of_rows` gives of each of several parts of the shard, without going through the whole for each.

        Args:
            parts: rows, increasing within a part; none in two of them.
        """
        most = max((rows.max(initial=-1) for rows in (*parts, self.rows)), default=-1)
        part, number = np.full(1 + most, len(parts), dtype=np.int32), np.zeros(1 + most, dtype=np.int64)
        for index, rows in enumerate(parts):
            part[rows], number[rows] = index, np.arange(len(rows))
        # numpy sorts small numbers several times as fast.
        of_part = part[self.rows].astype(np.min_scalar_type(len(parts)))
        order = np.argsort(of_part, kind="stable")
        cuts = np.append(0, np.cumsum(np.bincount(of_part, minlength=len(parts))))
        features = self.features
        for begin, end in pairwise(cuts[: len(parts) + 1].tolist()):
            own = order[begin:end]
            columns = number[self.rows[own]], features[own], self.values[own]
            yield Codes(*map(torch.from_numpy, columns))


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
    """The codes of all kept pairs of a run, which were encoded.

    Args:
        folder: where they lie.
        crosscoder: by which.
        store: its activations.
    """

    def __init__(self, folder: Path, crosscoder: Crosscoder, store: ActivationStore) -> None:
        self.folder = folder
        self.crosscoder = crosscoder
        self.store = store

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.store)

    @property
    def features(self) -> int:
        return self.crosscoder.config.features

    def shard(self, shard: int) -> ShardCodes:
        """Codes of one shard.

        Raises:
            UserError: if the file is missing or damaged.
        """
        counts, rows, values = self._read(shard, "counts", "rows", "values")
        return ShardCodes(counts.astype(np.int64), rows.astype(np.int64), values)

    def count(self) -> int:
        """Entries of all shards."""
        return sum(int(self._read(shard, "counts")[0].sum()) for shard in range(len(self)))

    def held_out(self) -> HeldOut:
        """How well all held-out pairs are explained."""
        result = HeldOut.of(self.crosscoder)
        for shard in range(len(self)):
            [rows], sums = self._read(shard, "held_out_rows", "held_out_sums")
            result.merge(int(rows), sums)
        return result

    def total_variance(self) -> tuple[float, float]:
        """Of model A's scaled stream and of B's, over all kept pairs: what a loss finds there before anything is said.

        NaN without pairs.
        """
        whole = Spread(self.crosscoder.decoder_bias.detach())
        for shard in range(len(self)):
            [rows], sums = self._read(shard, "kept_rows", "kept_sums")
            whole.rows += int(rows)
            whole.sums += torch.from_numpy(sums)
        a, b = whole.variances().split(self.crosscoder.widths)
        return float(a.sum()), float(b.sum())

    def _read(self, shard: int, *names: str) -> list[npt.NDArray[Any]]:
        path = path_of(self.folder, shard)
        remedy = "delete it and start the same command again, which encodes these pairs anew"
        with disk.reading(path, remedy, SafetensorError), safe_open(path, "np") as file:
            return [file.get_tensor(name) for name in names]


def path_of(folder: Path, shard: int) -> Path:
    """Where a shard's codes lie."""
    return folder / f"{shard:05d}.safetensors"


def write(folder: Path, shard: int, codes: ShardCodes, held_out: HeldOut, spread: Spread, made_from: str) -> None:
    """Write what is known of a shard's kept rows, and what tells whether it is of others."""
    content = {
        "counts": codes.counts.astype(np.int32),
        "rows": codes.rows.astype(np.min_scalar_type(codes.rows.max(initial=0))),
        "values": codes.values,
        "held_out_rows": np.array([held_out.all.rows]),
        "held_out_sums": held_out.sums(),
        "kept_rows": np.array([spread.rows]),
        "kept_sums": spread.sums.numpy(),
    }
    with disk.replacing(path_of(folder, shard)) as temporary:
        save_file(content, temporary, {"made_from": made_from})


def made_from(folder: Path, shard: int) -> str:
    """What `write` was told that a shard's codes are made from; empty if they are not there, or damaged."""
    try:
        with safe_open(path_of(folder, shard), "np") as file:
            return str((file.metadata() or {}).get("made_from", ""))
    except (OSError, SafetensorError):
        return ""
