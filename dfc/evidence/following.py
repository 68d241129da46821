"""What follows each row, as both models expect it."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Following:
    """What comes within the window after each row; arrays are (rows,).

    Attributes:
        gap: by how many nats model B is more surprised by it than model A, float64; NaN where it is not known.
        characters: how many it has, float64.
        beyond: the gap less what is expected at matched places (`matching`), float64.
        rare: how much rarer it is than what usually follows there, in nats, float64 (`matching.unexpected`).
        cell: number of the kind of place with which it is matched; −1 where nothing is known.
        slope: number of the rows with which it shares what rarity is worth; likewise.
        passage: number of the stretch of its document in which it stands; likewise.
    """

    gap: Tensor
    characters: Tensor
    beyond: Tensor
    rare: Tensor
    cell: Tensor
    slope: Tensor
    passage: Tensor

    def take(self, rows: Tensor) -> Following:
        """Of some of the rows."""
        return Following(*(getattr(self, entry.name)[rows] for entry in fields(self)))
