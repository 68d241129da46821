"""The order of the queue while somebody works: nothing that they say of a finding moves it under them.

It is sorted anew when they come to the page, change a weight, or ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from dfc.runs import Run
from dfc.screen import triage
from dfc.screen.triage import Candidate

_KEPT = "screen_order"


@dataclass(frozen=True)
class _Order:
    """An order, and what it is of: other findings or weights have one of their own."""

    of: tuple[Run, frozenset[int], tuple[tuple[str, float], ...]]
    features: tuple[int, ...]


def fixed(
    run: Run, listed: Sequence[Candidate], weights: Mapping[str, float], arrived: bool
) -> tuple[tuple[Candidate, ...], bool]:
    """The queue in the order in which it was when somebody came to it, and whether its scores have another by now.

    Args:
        run: whose queue it is.
        listed: all that is in it.
        weights: of the factors.
        arrived: whether they have come to the page just now.
    """
    by_feature = {one.subject.feature_id: one for one in listed}
    today = tuple(one.subject.feature_id for one in triage.ordered(listed, weights))
    of = run, frozenset(by_feature), tuple(sorted(weights.items()))
    kept: _Order | None = st.session_state.get(_KEPT)
    if arrived or kept is None or kept.of != of:
        st.session_state[_KEPT] = kept = _Order(of, today)
    return tuple(by_feature[one] for one in kept.features), kept.features != today


def anew() -> None:
    """Have it sorted by the scores of today the next time."""
    st.session_state.pop(_KEPT, None)
