"""The activation store: memory-mapped shards of paired rows, and a manifest.

A shard holds consecutive documents. Row r of `a/` and of `b/` belong to the same pair;
`tokens/` leads from a row back to its document, its token in each model and its character.

    activations/
        tokens/00000.parquet    one row a document: ids and paired indices of both models
        a/00000.bf16            (pairs, width_a) residual stream of model A, row-major
        a/00000.norms           (pairs,) float32 norms of these rows
        b/...
        manifest.json           written last: what the store holds and how it was made
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dfc import runs
from dfc.config import SIDES, Side, UserError

TOKENS_SCHEMA = pa.schema(
    {
        "document": pa.int32(),
        "held_out": pa.bool_(),
        "ids_a": pa.list_(pa.int32()),
        "ids_b": pa.list_(pa.int32()),
        "index_a": pa.list_(pa.int32()),
        "index_b": pa.list_(pa.int32()),
        "ends": pa.list_(pa.int32()),
    }
)


@dataclass(frozen=True)
class SideFacts:
    """What the rows of one model are.

    Attributes:
        scale: the stream times this has the median norm √((d_a + d_b) / 2) (the paper's scaling).
        norm_limit: rows with a larger norm are outliers.
    """

    name: str
    source: str
    revision: str | None
    layer: int
    layers: int
    width: int
    dtype: str
    median_norm: float
    norm_limit: float
    scale: float


@dataclass(frozen=True)
class ShardFacts:
    """Rows of one shard: all, kept for training, kept and held out."""

    pairs: int
    train: int
    held_out: int


@dataclass(frozen=True)
class Manifest:
    """What an activation store holds."""

    a: SideFacts
    b: SideFacts
    skip_first: int
    shards: tuple[ShardFacts, ...]

    @property
    def pairs(self) -> int:
        return sum(shard.pairs for shard in self.shards)

    @property
    def kept(self) -> int:
        """Pairs that are neither first positions nor outliers nor non-finite."""
        return sum(shard.train + shard.held_out for shard in self.shards)

    def side(self, side: Side) -> SideFacts:
        return self.a if side == "a" else self.b


@dataclass(frozen=True)
class Rows:
    """Where the rows of a shard come from; every array is (pairs,)."""

    document: npt.NDArray[np.int32]
    index_a: npt.NDArray[np.int32]
    index_b: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.bool_]


class ActivationStore:
    """Read access to a finished store; nothing is held in memory.

    Raises:
        UserError: if the store is not finished, or a file of it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "manifest.json"
        if not path.exists():
            raise UserError(
                f"{folder}: the activations are not complete; go on with `python -m dfc harvest {folder.parent}`."
            )
        with runs.reading(path, _harvest_again(folder)):
            content = json.loads(path.read_text(encoding="utf-8"))
            self.manifest = Manifest(
                SideFacts(**content["a"]),
                SideFacts(**content["b"]),
                content["skip_first"],
                tuple(ShardFacts(**shard) for shard in content["shards"]),
            )

    def __len__(self) -> int:
        """Number of shards."""
        return len(self.manifest.shards)

    def raw(self, shard: int) -> Tensor:
        """Both models' stream side by side, unscaled, (pairs, width_a + width_b) bfloat16."""
        pairs = self.manifest.shards[shard].pairs
        return torch.cat(
            [map_rows(self.folder, side, shard, pairs, self.manifest.side(side).width) for side in SIDES], dim=1
        )

    def column_scale(self) -> Tensor:
        """The scale of each column of `raw`, (width_a + width_b,)."""
        return torch.cat([torch.full((facts.width,), facts.scale) for facts in (self.manifest.a, self.manifest.b)])

    def rows(self, shard: int) -> Rows:
        """Where each row of a shard comes from."""
        return flatten(read_tokens(self.folder, shard))

    def keep(self, shard: int) -> npt.NDArray[np.bool_]:
        """Which rows count: no first positions, no outliers, nothing that is not finite."""
        return keep_mask(
            self.folder,
            shard,
            self.rows(shard),
            self.manifest.skip_first,
            (self.manifest.a.norm_limit, self.manifest.b.norm_limit),
        )


def keep_mask(
    folder: Path, shard: int, rows: Rows, skip_first: int, limits: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """The one mask that training, statistics and contexts share, (pairs,)."""
    keep = np.minimum(rows.index_a, rows.index_b) >= skip_first
    for side, limit in zip(SIDES, limits, strict=True):
        keep &= read_norms(folder, side, shard, len(keep)) <= limit  # false for NaN too
    return keep


def flatten(tokens: pa.Table) -> Rows:
    """One entry a pair from one row a document."""
    counts = np.diff(tokens["ends"].combine_chunks().offsets.to_numpy())

    def flat(name: str) -> npt.NDArray[np.int32]:
        return tokens[name].combine_chunks().flatten().to_numpy()

    return Rows(
        np.repeat(tokens["document"].to_numpy(), counts),
        flat("index_a"),
        flat("index_b"),
        flat("ends"),
        np.repeat(tokens["held_out"].to_numpy(), counts),
    )


def tokens_path(folder: Path, shard: int) -> Path:
    """Where a shard's tokens lie."""
    return folder / "tokens" / f"{shard:05d}.parquet"


def read_tokens(folder: Path, shard: int, columns: list[str] | None = None) -> pa.Table:
    """A shard's documents under both tokenizers, with the columns of TOKENS_SCHEMA.

    Raises:
        UserError: if the file is missing or damaged.
    """
    path = tokens_path(folder, shard)
    with runs.reading(path, f"delete {folder} and make it again with `python -m dfc harvest {folder.parent}`"):
        return pq.read_table(path, columns=columns)


def rows_path(folder: Path, side: Side, shard: int) -> Path:
    """Where one model's rows of a shard lie."""
    return folder / side / f"{shard:05d}.bf16"


def write_rows(folder: Path, side: Side, shard: int, rows: Tensor) -> None:
    """Write a shard's rows, (pairs, width), and their norms; the rows last, since they mark the shard as done."""
    norms = rows.float().norm(dim=1)
    with runs.replacing(rows_path(folder, side, shard).with_suffix(".norms")) as temporary:
        norms.numpy().tofile(temporary)
    with runs.replacing(rows_path(folder, side, shard)) as temporary:
        rows.to(torch.bfloat16).contiguous().view(torch.int16).numpy().tofile(temporary)


def is_whole(folder: Path, side: Side, shard: int, pairs: int, width: int) -> bool:
    """Whether one model's rows of a shard and their norms lie there in full."""
    rows = rows_path(folder, side, shard)
    return _has_size(rows, 2 * pairs * width) and _has_size(rows.with_suffix(".norms"), 4 * pairs)


def map_rows(folder: Path, side: Side, shard: int, pairs: int, width: int) -> Tensor:
    """A shard's rows as a memory-mapped tensor, (pairs, width) bfloat16.

    Raises:
        UserError: if the file does not have the size that the manifest says.
    """
    path = rows_path(folder, side, shard)
    _check_size(path, 2 * pairs * width, folder)
    return torch.from_file(str(path), size=pairs * width, dtype=torch.bfloat16).view(pairs, width)


def read_norms(folder: Path, side: Side, shard: int, pairs: int) -> npt.NDArray[np.float32]:
    """Norms of a shard's rows, unscaled, (pairs,).

    Raises:
        UserError: if there are more or fewer.
    """
    path = rows_path(folder, side, shard).with_suffix(".norms")
    _check_size(path, 4 * pairs, folder)
    return np.fromfile(path, dtype=np.float32)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Mark the store as complete."""
    runs.write_json(folder / "manifest.json", asdict(manifest))


def _has_size(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def _check_size(path: Path, size: int, folder: Path) -> None:
    if not _has_size(path, size):
        state = f"has {path.stat().st_size} bytes instead of {size}" if path.exists() else "is missing"
        raise UserError(f"{path}: {state}; {_harvest_again(folder)}.")


def _harvest_again(folder: Path) -> str:
    """What to do about a damaged store; harvesting makes again what is not whole and leaves the rest."""
    return f"delete {folder / 'manifest.json'} and run `python -m dfc harvest {folder.parent}`"
