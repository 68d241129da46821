"""One feature: where it fires, how strongly, what it writes, and in which model."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.heatmap import called, side_of
from dfc.report.palette import Theme
from dfc.report.words import ORIGINS, percent
from dfc.runs import Run
from dfc.store import columns
from dfc.store import query as queries
from dfc.store.reader import FeatureQuery, FeatureRow, Store
from dfc.ui.feature import contexts, notes, panels
from dfc.ui.shell import address, data, downloads, feature_list, links, list_address, norm_region
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import partition_badge
from dfc.ui.shell.orders import default_order, orders
from dfc.ui.shell.text import chips, number, one_in

PER_SIDE = 5
_BACK = {
    address.TABLE_PAGE: (":material/table_rows:", "Back to this list in the table."),
    address.NORMS_PAGE: (":material/scatter_plot:", "Back to the selection in the chart."),
    address.FINDINGS_PAGE: (":material/lightbulb:", "Back to the findings."),
    address.LISTS_PAGE: (":material/bookmarks:", "Back to what is marked."),
}
"""Icon and help of the link to the list from which a feature was opened."""


def show(view: View) -> None:
    """Draw the page."""
    identity = address.feature_id()
    if identity is None:
        _choose(view)
        return
    feature = view.store.feature(identity)
    st.set_page_config(page_title=f"Feature {identity} · dfc")
    names, known = model_names(view.config), view.store.evidence(identity)
    own = side_of(feature.partition, known)
    _controls(view, feature, own)
    st.html(
        f'<div class="dfc-hero dfc-head dfc-{feature.partition}"><div><h1>Feature {identity} '
        f"{partition_badge(feature.partition, names)}</h1>{_label(feature)}"
        f'<div title="{columns.meaning("peak_tokens")}">'
        f"{chips(feature.peak_tokens) or '<span class=dfc-muted>no peak tokens</span>'}</div></div>"
        f"{_figures(feature)}</div>"
    )
    notes.show(view, feature)
    if not feature.alive:
        st.info(
            "This feature is dead: it fired on none of the kept pairs, so there are no contexts to read, and it "
            "cannot steer.",
            icon=":material/bedtime:",
        )
    left, right = st.columns([5, 3], gap="medium")
    with left:
        contexts.show(view, feature, own)
    with right:
        panels.show(view, feature, known, names)


def _label(feature: FeatureRow) -> str:
    """What it seems to be about, and who says so."""
    if not feature.label:
        return ""
    origin = ORIGINS.get(feature.label_origin, feature.label_origin)
    tested = "" if feature.label_auroc is None else f' <small class="dfc-muted">AUROC {feature.label_auroc:.2f}</small>'
    meaning = f"{origin}. {columns.meaning('label_auroc')}" if tested else origin
    return f'<p class="dfc-called" title="{escape(meaning)}">{escape(called(feature.label))}{tested}</p>'


def _figures(feature: FeatureRow) -> str:
    """How often and how strongly it fires, and on what."""
    figures = (
        (
            "fires",
            one_in(feature.density),
            f"Share of token pairs on which it fires: {percent(feature.density)}, {feature.count:,} pairs.",
        ),
        (
            "strongest",
            number(feature.max),
            f"{columns.meaning('max')} Where it fires, it averages {number(feature.mean)}.",
        ),
        ("mostly on", _mostly(feature), f"{columns.meaning('main_source')} {columns.meaning('specificity')}"),
    )
    cells = "".join(
        f'<div><dt title="{escape(meaning)}">{title}</dt><dd>{escape(value)}</dd></div>'
        for title, value, meaning in figures
    )
    return f'<dl class="dfc-figures">{cells}</dl>'


def _mostly(feature: FeatureRow) -> str:
    """The source on which it fires most often, with how much it keeps to it."""
    return f"{feature.main_source} ({percent(feature.specificity, 2)})" if feature.main_source else "–"


def _controls(view: View, feature: FeatureRow, own: Side) -> None:
    """Previous, next, steer and the card."""
    place = address.place()
    before, after, where = _neighbours(view, feature, place)
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        st.button(
            "Previous",
            icon=":material/chevron_left:",
            disabled=before is None,
            on_click=_go,
            args=(before,),
            key="previous",
            shortcut="Left",
        )
        st.button(
            "Next",
            icon=":material/chevron_right:",
            icon_position="right",
            disabled=after is None,
            on_click=_go,
            args=(after,),
            key="next",
            shortcut="Right",
        )
        if place is None:
            st.html(f'<span class="dfc-small">{where}</span>', width="content")
        else:
            _back(view, place, where)
        st.space("stretch")
        links.steer(view, feature.feature_id, own)
        with st.popover("Link", icon=":material/link:", help="The address of this feature, to be copied."):
            params = address.feature_params(view.run.name, feature.feature_id)
            st.code(f"{(st.context.url or '').split('?')[0]}?{urlencode(params)}", language=None, wrap_lines=True)
        store_path, run, theme, identity = view.store.path, view.run, view.theme, feature.feature_id
        downloads.button(
            "Card as PNG",
            lambda: _card(Store(store_path), run, identity, theme),
            f"{run.name}-feature-{identity}.png",
            "image/png",
            icon=":material/image:",
            key="card",
            help="A picture of this feature for a report or a slide; made when you click.",
        )


def _back(view: View, place: Place, where: str) -> None:
    """To the list from which the feature was opened."""
    page, params = list_address.of(view, place)
    icon, words = _BACK[page]
    st.page_link(page, label=where, icon=icon, help=words, query_params=params)


def _card(store: Store, run: Run, identity: int, theme: Theme) -> bytes:
    from dfc.report.card import feature_card_png

    return feature_card_png(store, identity, run.name, theme)


def _neighbours(
    view: View, feature: FeatureRow, place: Place | None
) -> tuple[dict[str, str] | None, dict[str, str] | None, str]:
    """Addresses of the features before and after, and where this one stands, in words.

    They follow the list from which the feature was opened; without one, the numbers of the
    features of its partition that are alive.
    """
    store = view.store
    if place is not None and place.region:
        region = norm_region.unpack(place.region)
        listed = region.members(data.norms(store), place.query.alive_only) if region else []
        near = [_of(listed, address.neighbour(place, step)) for step in (-1, 1)]
        return near[0], near[1], f"{place.position + 1:,} of {len(listed):,} selected in the norms, by density"
    if place is not None:
        query = list_address.narrowed(view, place.query, place.kept)
        steps = [_at(store, query, address.neighbour(place, step)) or _beyond(view, place, step) for step in (-1, 1)]
        return steps[0], steps[1], f"{place.position + 1:,} of {data.count(store, query):,} {_listed(place.query)}"
    before, after = (
        None if i is None else {"feature": str(i)} for i in store.beside(feature.feature_id, feature.partition)
    )
    return before, after, "by number, in its partition"


def _listed(query: FeatureQuery) -> str:
    """What a list is of, and how it is sorted."""
    first = "place" if query.finding is not None else "finding" if query.found is not None else "feature_id"
    by = "" if query.order in (first, queries.LISTED) else f", by {orders().get(query.order, query.order)}"
    if query.finding is not None:
        return f"in its finding{by}"
    return f"findings of {query.found.upper()}{by}" if query.found is not None else f"in the list{by}"


def _beyond(view: View, place: Place, step: int) -> dict[str, str] | None:
    """The feature that follows an end of a list in the one that stood beside it."""
    there = list_address.beyond(place, step)
    if there is None:
        return None
    query = list_address.narrowed(view, there.query, there.kept)
    last = replace(there, position=data.count(view.store, query) - 1)
    return _at(view.store, query, there if step > 0 else last)


def _at(store: Store, query: FeatureQuery, place: Place) -> dict[str, str] | None:
    if place.position < 0:
        return None
    ids = data.page_ids(store, replace(query, limit=1, offset=place.position))
    return {"feature": str(ids[0]), "list": address.pack(place)} if ids else None


def _of(listed: list[int], place: Place) -> dict[str, str] | None:
    """The feature at a place of a list that is known whole."""
    if not 0 <= place.position < len(listed):
        return None
    return {"feature": str(listed[place.position]), "list": address.pack(place)}


def _go(params: dict[str, str]) -> None:
    st.query_params.update(params)


def _choose(view: View) -> None:
    """No feature in the address: offer some."""
    names = model_names(view.config)
    st.html(
        '<div class="dfc-hero"><h1>Which feature?</h1><p>Open one by its number, or start with the most telling ones '
        "below.</p></div>"
    )
    with st.container(width=260):
        st.number_input(
            "Number",
            min_value=0,
            value=None,
            step=1,
            placeholder="e.g. 12",
            key="jump",
            on_change=_jump,
            help="The number of a feature in this run's dictionary.",
        )
    for side in SIDES:
        query = FeatureQuery(partitions=(side,), order=default_order(view), limit=PER_SIDE)
        table = data.features(view.store, query)
        if table.empty:
            continue
        st.html(partition_badge(side, names))
        contexts = view.store.strongest_contexts([int(identity) for identity in table["feature_id"]])
        rows: Any = table.itertuples()
        for position, row in enumerate(rows):
            feature_list.row(view, row, contexts.get(int(row.feature_id)), side, Place(query, position))


def _jump() -> None:
    if st.session_state["jump"] is not None:
        st.query_params["feature"] = str(int(st.session_state["jump"]))
