"""What follows each row, as both models expect it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Following:
    """What comes within the window after each row; arrays are (rows,).

    Attributes:
        gap: by how many nats model B is more surprised by it than model A, float64; NaN where it is not known.
        characters: how many it has, float64.
        beyond: the gap less what it comes to, over as many characters, at matched places (`matching`), float64.
        cell: number of the kind of place with which it is matched; −1 where nothing is known.
    """

    gap: Tensor
    characters: Tensor
    beyond: Tensor
    cell: Tensor

    def take(self, rows: Tensor) -> Following:
        """Of some of the rows."""
        return Following(self.gap[rows], self.characters[rows], self.beyond[rows], self.cell[rows])
