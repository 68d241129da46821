"""To choose the feature of an edit by what it is called or fires on, where its number is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from dfc.config import UserError
from dfc.report.heatmap import called
from dfc.store.query import RELEVANCE
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import data
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain
from dfc.ui.steer import edit_address
from dfc.ui.steer.edit_address import Row

_FIRST = 8


def offer(view: View, listed: Sequence[Row], place: int) -> None:
    """A search for features, the best matches of it as buttons."""
    with st.popover("Find a feature", icon=":material/search:", type="tertiary", key=f"find_{place}"):
        words = st.text_input(
            "Words",
            key=f"find_words_{place}",
            placeholder="in labels, contexts or peak tokens",
            help="Features whose label has the words come first, then those with the most contexts that do.",
            width=380,
        )
        if not (words := (words or "").strip()):
            return
        table = data.features(view.store, FeatureQuery(search=words, order=RELEVANCE, limit=_FIRST))
        if table.empty:
            st.html('<p class="dfc-muted">No feature has these words in its label or in a context kept of it.</p>')
        rows: Any = table.itertuples()
        for row in rows:
            whose = "shared" if row.partition == "shared" else f"only {row.partition.upper()}"
            st.button(
                f"**{row.feature_id}** {plain(called(row.label))} · {whose}",
                key=f"match_{place}_{row.feature_id}",
                type="tertiary",
                on_click=choose,
                args=(view.store, listed, place, int(row.feature_id)),
            )


def choose(store: Store, listed: Sequence[Row], place: int, feature: int) -> None:
    """Put a feature into a row, and steer the model that it is of."""
    row = replace(listed[place], feature=feature)
    try:
        partition = store.feature(feature).partition
    except UserError:
        partition = "shared"
    edit_address.put(listed, place, row if partition == "shared" else replace(row, sides=partition))
