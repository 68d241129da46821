"""Read what both models of a run wrote themselves, and which features fire in it: rows of own_words.duckdb.

A model's continuations are ranked by how many nats a character more they surprise the other one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfc.config import Side, opposite
from dfc.store.statements import Attached


@dataclass(frozen=True)
class Continuation:
    """What a model went on with; attributes as the table `continuations` describes them.

    `findings` are the best features of its model's findings that fire in it, with the strongest activation of each
    there, those nearest to their strongest on the corpus first.
    """

    number: int
    side: Side
    source: str
    chat: bool
    beginning: str
    text: str
    characters: int
    nats_a: float
    nats_b: float
    pieces: list[str]
    gaps: list[float | None]
    first: int
    last: int
    findings: tuple[tuple[int, float], ...] = ()

    @property
    def beyond(self) -> float:
        """By how many nats a character the other model is more surprised by it."""
        return self.nats_b - self.nats_a if self.side == "a" else self.nats_a - self.nats_b

    @property
    def passage(self) -> str:
        """What of it the other model would least have said."""
        return "".join(self.pieces[self.first : self.last + 1])

    @property
    def passage_nats(self) -> float:
        """By how many nats the other model is more surprised by that."""
        known = [gap for gap in self.gaps[self.first : self.last + 1] if gap is not None]
        return sum(known) if self.side == "a" else -sum(known)


@dataclass(frozen=True)
class Seen:
    """In how many continuations a feature fires.

    Attributes:
        own, of_own: of its model's continuations, and how many there are.
        other, of_other: of the other one's, likewise.
    """

    own: int
    of_own: int
    other: int
    of_other: int


class OwnWords(Attached):
    """A run's own_words.duckdb, by the path of its features; everything is empty without it, or of other features."""

    def facts(self) -> dict[str, Any]:
        """What was asked for, `asked`, what was left out of what each model wrote, `left_out`, and `remarks`."""
        return {row["key"]: json.loads(row["value"]) for row in self._rows("SELECT key, value FROM own_words")}

    def count(self, side: Side) -> int:
        """A model's continuations."""
        [row] = self._rows("SELECT count(*) AS number FROM continuations WHERE side = ?", [side])
        return int(row["number"])

    def continuations(self, side: Side, first: int, skip: int = 0) -> list[Continuation]:
        """Some of a model's continuations, those first that the other model would least have said."""
        rows = self._rows(
            """SELECT * FROM continuations WHERE side = $1
               ORDER BY if(side = 'a', nats_b - nats_a, nats_a - nats_b) DESC, number LIMIT $2 OFFSET $3""",
            [side, first, skip],
        )
        numbers = [row["number"] for row in rows]
        fired: dict[int, list[tuple[int, float]]] = {}
        for row in self._rows(
            """SELECT number, heard.feature_id, heard.max FROM heard JOIN judged USING (feature_id)
               WHERE side = ? AND knows = side AND place = 0 AND number IN (SELECT unnest(?::INTEGER[]))
               ORDER BY heard.max / greatest(judged.max, 1e-9) DESC, heard.feature_id""",
            [side, numbers],
        ):
            fired.setdefault(row["number"], []).append((row["feature_id"], row["max"]))
        return [Continuation(**row, findings=tuple(fired.get(row["number"], ()))) for row in rows]

    def seen(self, features: Sequence[tuple[int, Side]]) -> dict[int, Seen]:
        """In how many continuations features fire, each with the model whose it is; nothing where there are none."""
        counts = self._rows("SELECT side, count(*) AS number FROM continuations GROUP BY side")
        if not counts:
            return {}
        total = {"a": 0, "b": 0} | {row["side"]: int(row["number"]) for row in counts}
        rows = self._rows(
            """SELECT feature_id, side, count(*) AS number FROM heard
               WHERE feature_id IN (SELECT unnest(?::INTEGER[])) GROUP BY feature_id, side""",
            [[feature for feature, _ in features]],
        )
        held = {(row["feature_id"], row["side"]): int(row["number"]) for row in rows}

        def of(feature: int, side: Side) -> Seen:
            other = opposite(side)
            return Seen(held.get((feature, side), 0), total[side], held.get((feature, other), 0), total[other])

        return {feature: of(feature, side) for feature, side in features}
