"""What is done with a filtered list of features: reading it in order, and choosing many of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dfc.store.reader import FeatureQuery
from dfc.ui.shell import address, data
from dfc.ui.shell.address import Place
from dfc.ui.shell.feature_filters import Filters
from dfc.ui.shell.frame import View


def draw(
    view: View,
    chosen: Filters,
    queries: Sequence[FeatureQuery],
    narrowed: Sequence[FeatureQuery],
    totals: Sequence[int],
) -> bool:
    """Draw the tools into their line under the filters, and say whether many are to be chosen.

    Args:
        view: the page.
        chosen: what the filters ask.
        queries: one for each list beside the others.
        narrowed: the same, narrowed to what readers marked.
        totals: how many features each list has.
    """
    with chosen.tools:
        st.space("stretch")
        if any(totals) and st.button(
            "Read in order",
            icon=":material/menu_book:",
            key="read",
            shortcut="Enter",
            help="Opens the first feature of the list; there, ← and → go on through it.",
        ):
            first = next(place for place, total in enumerate(totals) if total)
            ids = data.features(view.store, replace(narrowed[first], limit=1, offset=0))["feature_id"]
            at = Place(queries[first], 0, len(queries) > 1, chosen.kept)
            params = address.feature_params(view.run.name, int(ids.iloc[0]), at)
            st.switch_page(address.FEATURE_PAGE, query_params=params)
        return st.toggle(
            "Select",
            key="select",
            bind="query-params",
            help="Tick rows, on as many pages as you like, to give them tags, put them on a list or download them.",
        )
