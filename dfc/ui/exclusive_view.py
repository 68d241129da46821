"""The table of exclusive features: A's, B's, or both side by side; filtered, sorted and paged by the store."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, get_args

import streamlit as st

from dfc.config import Partition, Side
from dfc.store.reader import FeatureQuery, Order
from dfc.ui import address, data, feature_table, style
from dfc.ui.address import Place
from dfc.ui.frame import View, model_names

PAGE_ROWS = 50
SHOW: dict[str, tuple[Partition, ...]] = {
    "side by side": ("a", "b"),
    "only A": ("a",),
    "only B": ("b",),
    "shared": ("shared",),
}
"""Choices of what is shown; they stand in the address as they are read."""

ORDERS: dict[Order, str] = {
    "specificity": "specificity",
    "confidence": "confidence",
    "density": "density",
    "max": "strongest activation",
    "mean": "mean activation",
    "norm_a": "decoder norm in A",
    "norm_b": "decoder norm in B",
    "relative_norm": "relative norm",
    "main_source": "main source",
    "feature_id": "number",
}
DENSITIES = (0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Filters:
    """What the reader chose above the table."""

    show: str
    query: FeatureQuery


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    st.html(
        '<div class="dfc-hero"><h1>Exclusive features</h1><p>Features that the dictionary lets one model use alone. '
        "The order is a first guess at what is worth reading; click a row to judge for yourself.</p></div>"
    )
    _restore(view, address.place())
    filters = _filters(view)
    partitions = SHOW[filters.show]
    queries = [replace(filters.query, partitions=(partition,)) for partition in partitions]
    totals = [data.count(view.store, query) for query in queries]
    pages = max(1, math.ceil(max(totals) / PAGE_ROWS))
    tables = st.container()
    page = _page(pages)
    with tables:
        columns = st.columns(len(queries), gap="medium")
    for column, query, total in zip(columns, queries, totals, strict=True):
        with column:
            _table(view, query, total, page, names, alone=len(queries) == 1)


def _page(pages: int) -> int:
    if pages == 1:
        return 1
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = pages
    with st.container(horizontal_alignment="center"):
        return st.pagination(pages, key="page", bind="query-params")


def _table(view: View, query: FeatureQuery, total: int, page: int, names: dict[Side, str], alone: bool) -> None:
    partition = query.partitions[0]
    query = replace(query, limit=PAGE_ROWS, offset=(page - 1) * PAGE_ROWS)
    first, last = min(query.offset + 1, total), min(query.offset + PAGE_ROWS, total)
    figures = f"{first:,} to {last:,} of {total:,}" if total > PAGE_ROWS else f"{total:,}"
    st.html(f'{style.partition_badge(partition, names)} <span class="dfc-small">&ensp;{figures}</span>')
    table = data.features(view.store, query)
    if table.empty:
        if total:
            st.html('<p class="dfc-muted">No more on this page.</p>')
        else:
            st.html('<p class="dfc-muted">No feature passes these filters. Widen the density or clear the search.</p>')
        return
    columns = feature_table.WIDE if alone else feature_table.NARROW
    feature_table.show(view, table, f"table_{partition}", columns, query, not alone)


def _filters(view: View) -> Filters:
    sources = list(data.facts(view.store).get("source_pairs") or {})
    reset: Any = {"bind": "query-params", "on_change": _first_page}
    top = st.columns([4, 5], vertical_alignment="bottom", gap="medium")
    shown = top[0].segmented_control("Show", list(SHOW), default="side by side", required=True, key="show", **reset)
    search = top[1].text_input(
        "Search",
        key="search",
        icon=":material/search:",
        placeholder="a word in contexts or peak tokens",
        help="Finds features whose kept contexts, or whose peak tokens, hold this text. Case does not matter.",
        **reset,
    )
    row = st.columns([3, 3, 5], vertical_alignment="bottom", gap="medium")
    order = row[0].selectbox(
        "Order by",
        list(ORDERS),
        format_func=lambda key: ORDERS[key],
        key="order",
        help="Sorts all features, not this page alone.",
        **reset,
    )
    source = row[1].selectbox(
        "Main source",
        sources,
        index=None,
        placeholder="any",
        key="source",
        help=feature_table.HELP["main_source"],
        **reset,
    )
    low, high = row[2].select_slider(
        "Density",
        DENSITIES,
        value=(0.0, 1.0),
        format_func=_density,
        key="density",
        help="Share of all token pairs on which a feature fires. One that fires on every tenth token rarely means "
        "one thing.",
        **reset,
    )
    with st.container(horizontal=True, gap="large"):
        ascending = st.toggle("lowest first", key="rising", **reset)
        alive = st.toggle("alive only", value=True, key="alive", help="Leave out features that never fired.", **reset)
    assert order in get_args(Order)
    query = FeatureQuery(
        alive_only=alive,
        density=(low, high),
        main_source=source,
        search=(search or "").strip(),
        order=order,
        descending=not ascending,
    )
    return Filters(shown, query)


def _restore(view: View, place: Place | None) -> None:
    """Go on to the list that a feature was opened from, if the address names one.

    The feature's page links back here with the list; and where Streamlit changes the page, the
    first step back in the browser brings the new page's parameters with the old page's path.
    """
    if place is None:
        return
    query, default = place.query, FeatureQuery()
    single = next((name for name, partitions in SHOW.items() if partitions == query.partitions), None)
    ends = [min(DENSITIES, key=lambda step: abs(step - end)) for end in query.density]
    chosen: dict[str, tuple[bool, str | list[str]]] = {  # what a widget writes, unless it is its default
        "show": (single is not None and not place.beside, single or ""),
        "order": (query.order != default.order, ORDERS[query.order]),
        "rising": (not query.descending, "true"),
        "alive": (not query.alive_only, "false"),
        "source": (query.main_source is not None, query.main_source or ""),
        "search": (query.search != "", query.search),
        "density": (ends != list(default.density), [_density(end) for end in ends]),
        "page": (place.position >= PAGE_ROWS, str(place.position // PAGE_ROWS + 1)),
    }
    params = {name: value for name, (wanted, value) in chosen.items() if wanted}
    st.switch_page(address.TABLE_PAGE, query_params={"run": view.run.name, **params})


def _density(value: float) -> str:
    return f"{value * 100:g}%"


def _first_page() -> None:
    """Other filters make another list: start at its beginning."""
    if "page" in st.session_state:
        st.session_state["page"] = 1
