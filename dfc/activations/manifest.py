"""What an activation store holds and how its rows were made: manifest.json, written last of all."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfc.config import MissingError, Side
from dfc.machine import disk

Scale = float | tuple[float, ...]
"""What a model's stream is multiplied by before the crosscoder sees it: one factor, or one for each column."""


@dataclass(frozen=True)
class SideFacts:
    """What the rows of one model are, and what is needed to make them again.

    Attributes:
        weights, tokenizer, template: hashes of what the model was made of; a hub commit stands for its weights.
        bos: whether its tokenizer puts a token before a plain text.
        scale: what the stream is multiplied by before the crosscoder sees it, as `harvest.scale` says.
        norm_limit: rows with a larger norm are outliers.
    """

    name: str
    source: str
    revision: str | None
    weights: str
    tokenizer: str
    template: str
    bos: bool
    layer: int
    layers: int
    width: int
    dtype: str
    median_norm: float
    norm_limit: float
    scale: Scale

    def column_scale(self) -> Tensor:
        """The scale of each column, (width,) float32."""
        if isinstance(self.scale, tuple):
            return torch.tensor(self.scale)
        return torch.full((self.width,), self.scale)


@dataclass(frozen=True)
class ShardFacts:
    """Rows of one shard: all, kept for training, kept and held out."""

    pairs: int
    train: int
    held_out: int


@dataclass(frozen=True)
class Manifest:
    """What an activation store holds.

    Attributes:
        remarks: what of the corpus was left out or given otherwise, see `corpus.remarks`; empty in older stores.
    """

    a: SideFacts
    b: SideFacts
    skip_first: int
    shards: tuple[ShardFacts, ...]
    remarks: dict[str, Any] = field(default_factory=dict)

    @property
    def pairs(self) -> int:
        return sum(shard.pairs for shard in self.shards)

    @property
    def kept(self) -> int:
        """Pairs that are neither first positions nor outliers nor non-finite."""
        return sum(shard.train + shard.held_out for shard in self.shards)

    def side(self, side: Side) -> SideFacts:
        return self.a if side == "a" else self.b


def read(folder: Path) -> Manifest:
    """The manifest of the activation store in a folder.

    Raises:
        MissingError: if the store is not finished.
        VersionError: if another version of dfc made it.
        DamagedError: if it is no JSON, or does not hold a scale for each column.
    """
    path = folder / "manifest.json"
    if not path.exists():
        raise MissingError(
            f"{folder}: the activations are not complete; go on with `python -m dfc harvest {folder.parent}`."
        )
    with disk.reading(path, f"delete it and run `python -m dfc harvest {folder.parent}`"):
        content = disk.read_json(path)
        return Manifest(
            _side(content["a"]),
            _side(content["b"]),
            content["skip_first"],
            tuple(ShardFacts(**shard) for shard in content["shards"]),
            content.get("remarks", {}),
        )


def write(folder: Path, manifest: Manifest) -> None:
    """Mark the store as complete."""
    disk.write_json(folder / "manifest.json", asdict(manifest))


def _side(content: dict[str, Any]) -> SideFacts:
    """One model's facts; JSON has no tuples."""
    scale = content.get("scale")
    if not isinstance(scale, list):
        return SideFacts(**content)
    facts = SideFacts(**{**content, "scale": tuple(map(float, scale))})
    if len(scale) != facts.width:
        raise ValueError(f"{len(scale)} scales for {facts.width} columns")
    return facts
