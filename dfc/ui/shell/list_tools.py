"""What is done with a filtered list of features: reading it in order, choosing many of it, saying what is not on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

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
            help="Opens the first feature of the list; there, ← and → go on through it"
            + (", and from the end of A's list to that of B." if len(queries) > 1 else "."),
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


def not_found(view: View, words: str, whose: str = "feature") -> None:
    """Say that a search leaves the list empty; the corpus may have the text all the same.

    Args:
        view: the page.
        words: that were searched.
        whose: labels and contexts were searched, with the filters of the page: `feature`, or of what.
    """
    known = data.corpus_document(view.run, words)
    said = (
        f'<p class="dfc-muted">No {whose} that passes these filters has “{escape(words)}” as it stands in its label or '
        "in a context that is kept of it"
    )
    if known is None:
        st.html(f"{said}, and no document of the corpus has it so.</p>")
        return
    st.html(f"{said}. The corpus has it: contexts are kept of the strongest and a few weaker firings alone.</p>")
    st.page_link(
        address.PROMPT_PAGE,
        label=f"See what fires on it in document {known:,}",
        icon=":material/edit_note:",
        query_params=address.prompt_params(view.run.name, known),
    )
