"""The table of exclusive features: A's, B's, or both side by side; filtered, sorted and paged by the store."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dfc.config import Side
from dfc.report.words import PARTS
from dfc.store import query as queries
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import (
    address,
    data,
    feature_filters,
    feature_table,
    list_address,
    list_tools,
    look,
    notebook,
    orders,
    paging,
    selection,
)
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View, model_names

_TITLES = {"both": "side by side", "a": PARTS["a"], "b": PARTS["b"], "shared": PARTS["shared"]}


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    heading = st.container()
    notebook.opened()
    if (place := address.place()) is not None:
        # A link of an earlier version names a list, or a browser that had not heard of its manners yet.
        st.switch_page(address.TABLE_PAGE, query_params=list_address.table(view, place))
    chosen = feature_filters.draw(view, _TITLES, orders.default_order(view))
    feature_filters.offer_to_clear(chosen)
    whose = "both models use" if chosen.show == "shared" else "one model use alone"
    first = _first(chosen.query, orders.default_order(view))
    heading.html(
        f'<div class="dfc-hero"><h1>Exclusive features</h1><p>Features that the dictionary lets {whose}. '
        f"{first}; click a row to judge for yourself.</p></div>"
    )
    queries = [replace(chosen.query, partitions=(partition,)) for partition in list_address.SHOW[chosen.show]]
    narrowed = [list_address.narrowed(view, query, chosen.kept) for query in queries]
    totals = [data.count(view.store, query) for query in narrowed]
    if chosen.query.search and not any(totals):
        list_tools.not_found(view, chosen.query.search)
        return
    many = list_tools.draw(view, chosen, queries, narrowed, totals)
    marking, tables = st.container(), st.container()
    page = paging.choose(max(totals), paging.TABLE_ROWS)
    with tables:
        columns = st.columns(len(queries), gap="medium")
    for column, query, whole, total in zip(columns, queries, narrowed, totals, strict=True):
        place = Place(query, (page - 1) * paging.TABLE_ROWS, len(queries) > 1, chosen.kept)
        with column:
            _table(view, place, whole, total, names, many)
    if many:
        with marking:  # drawn last, when the ticks are known
            selection.bar(view, narrowed, sum(totals))


def _first(query: FeatureQuery, usual: str) -> str:
    """Which come first, in words."""
    if query.order != usual or query.descending == queries.begins_low(usual):
        return f"They are sorted by {orders.orders()[query.order]}"
    return "Those come first of which the evidence is surest" if usual == "confidence" else "The order is a first guess"


def _table(view: View, place: Place, whole: FeatureQuery, total: int, names: dict[Side, str], many: bool) -> None:
    partition = whole.partitions[0]
    first, last = min(place.position + 1, total), min(place.position + paging.TABLE_ROWS, total)
    figures = f"{first:,} to {last:,} of {total:,}" if total > paging.TABLE_ROWS else f"{total:,}"
    st.html(f'{look.partition_badge(partition, names)} <span class="dfc-small">&ensp;{figures}</span>')
    table = data.features(view.store, replace(whole, limit=paging.TABLE_ROWS, offset=place.position))
    if table.empty:
        if total:
            st.html('<p class="dfc-muted">No more on this page.</p>')
        else:
            st.html('<p class="dfc-muted">No feature passes these filters. Widen one of them or clear them all.</p>')
        return
    table = feature_table.searched(view, table, whole)
    columns = feature_table.chosen(table, not place.beside, whole.order)
    feature_table.show(view, table, f"table_{partition}", columns, place, many)
