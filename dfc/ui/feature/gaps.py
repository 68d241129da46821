"""Contexts coloured by which model expects their words better, as far as `verify` measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from dfc.config import SIDES, Side
from dfc.store.reader import Context
from dfc.ui.shell import gap_key
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

Measured = tuple[list[int], list[float | None]]
"""Where a document's kept pairs end, and by how many nats A expects each better; as the store gives them."""
_BEGINS = "no figure: the models were not given the same before the first pair of a turn"
_UNMEASURED = "not measured"


@dataclass(frozen=True)
class Coloured:
    """A context with gaps in place of activations, and what is said of each token of both models."""

    context: Context
    notes: dict[Side, list[str]]

    @property
    def gaps(self) -> list[float]:
        """Those that are known, each on every token of A that it is the gap of."""
        return [gap for gap in self.context.activations_a if gap is not None]


def coloured(context: Context, measured: Measured | None) -> Coloured:
    """A context as far as its document was measured; a token without a partner goes with the next that has one.

    Where a document has other pairs there than the context does, which is of another harvest, nothing is taken over.
    """
    ends, gaps = measured or ([], [])
    inside = [gap for end, gap in zip(ends, gaps, strict=True) if context.start < end <= context.stop]
    if len(inside) > sum(value is not None for value in context.activations_a):
        inside = []
    (a, notes_a), (b, notes_b) = (_spread(context, side, inside) for side in SIDES)
    return Coloured(replace(context, activations_a=a, activations_b=b), {"a": notes_a, "b": notes_b})


def _spread(context: Context, side: Side, inside: Sequence[float | None]) -> tuple[list[float | None], list[str]]:
    """The gap on each token of a model, and what is said of it."""
    activations = context.activations_a if side == "a" else context.activations_b
    values: list[float | None] = []
    notes: list[str] = []
    paired = [place for place, activation in enumerate(activations) if activation is not None]
    for pair, place in enumerate(paired):
        gap = inside[pair] if pair < len(inside) else None
        note = gap_key.words(gap) or (_BEGINS if pair < len(inside) else _UNMEASURED)
        since = place + 1 - len(values)
        values += [gap] * since
        notes += [note] * since
        if activation := activations[place]:
            notes[-1] += f", activation {activation:.3g}"
    rest = len(activations) - len(values)
    return values + [None] * rest, notes + ["not paired"] * rest


def show(view: View, shown: Sequence[Coloured]) -> float:
    """Say how to read the colours, and how much was not measured; gives the nats of the strongest colour."""
    top = gap_key.strongest(gap for one in shown for gap in one.gaps)
    known = sum(bool(one.gaps) for one in shown)
    st.html(gap_key.key(view, top))
    if known < len(shown):
        more = (
            "A larger `evidence.surprise_pairs` measures more."
            if known
            else f"`python -m dfc verify {plain(view.run.name)}` measures it, and keeps it."
        )
        st.caption(
            f"{known} of {len(shown)} contexts lie where the models’ surprise was measured, at the beginnings of "
            f"documents; the others are grey. {more} A click on a document’s number has both models read it."
        )
    return top
