"""What is said of a column of the feature store: a figure of every feature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Table = Literal["features", "evidence"]
Look = Literal["number", "share", "text", "tokens", "bars", "none"]

DENSITIES = (0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
STRENGTHS = (0.0, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, math.inf)
GAPS = (-1.0, -0.5, -0.2, -0.1, -0.05, 0.0, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0)
SHARES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Column:
    """One figure of every feature.

    Attributes:
        name: in the store, in addresses and in exports.
        kind: its SQL type; NULL where the figure does not apply.
        title: above the column of a table, short.
        help: what it means, as a sentence; `also` is what else is to be said where there is room.
        table: where it is stored.
        called: its name where it is sorted by, filtered by, or drawn; the title if there is none.
        unit: what it is measured in; none for shares, correlations and counts.
        sql: what it is made of where a store does not hold it, of other columns.
        sorted: whether features can be sorted by it; `rising`: the lowest number comes first then, as of a rank.
        steps: of the slider that filters by it; an end at the first or last lets everything pass. None: no filter.
        spread: whether it is drawn on its spread over other features; `axis`: the ends of that drawing; `limits`: the
            settings of the evidence that it is held to, drawn there; `error`: the column of its standard error.
        look: how a table shows it; none: a table does not.
        asked: whether a table shows it only where features are sorted by it.
        format, width: of a table's column; format as for %, width in pixels.
    """

    name: str
    kind: str
    title: str
    help: str
    table: Table = "evidence"
    also: str = ""
    called: str = ""
    unit: str = ""
    sql: str = ""
    sorted: bool = False
    rising: bool = False
    steps: tuple[float, ...] = ()
    spread: bool = False
    axis: tuple[float, float] = (0.0, 1.0)
    limits: tuple[str, ...] = ()
    error: str = ""
    look: Look = "number"
    asked: bool = False
    format: str = "%.2f"
    width: int = 74

    @property
    def words(self) -> str:
        """What it is called where there is room."""
        return self.called or self.title

    @property
    def meaning(self) -> str:
        """All that is said of it."""
        return f"{self.help} {self.also}".strip()

    @property
    def is_text(self) -> bool:
        """Whether it is sorted by the alphabet."""
        return self.kind == "VARCHAR"

    @property
    def begins_low(self) -> bool:
        """Whether the first comes first: of texts A, of ranks the lowest; else the highest figure does."""
        return self.is_text or self.rising
