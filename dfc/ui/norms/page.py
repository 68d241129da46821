"""Decoder norms: how strongly each model writes each feature, and which features lie where."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import streamlit as st

from dfc.config import PARTITIONS, Partition, Side
from dfc.report.words import whose
from dfc.store import columns
from dfc.store.reader import FeatureQuery
from dfc.ui.norms import figures
from dfc.ui.norms.figures import Axes, Colouring
from dfc.ui.shell import address, charts, choice, data, feature_table, norm_region, paging, selection
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.norm_region import TITLES, Chart, Region

MOST_POINTS = 20_000
COLUMNS = ("feature_id", "partition", "label", "verdict", "peak_tokens", "density", "norm_a", "norm_b", "relative_norm")
_DRAWN = "norms_drawn"


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    labels = {partition: whose(partition, names) for partition in PARTITIONS}
    st.html(
        '<div class="dfc-hero"><h1>Decoder norms</h1><p>A feature adds a vector to each model\'s stream. Its length '
        "says how far one unit of the feature's activation moves that stream, in the stream's typical deviation from "
        "its mean: 0.1 is a tenth of it. Dedicated features have a vector in one model only. Among the shared ones, "
        "look at the edges: a feature with most of its norm on one side moves that model most. How strongly and how "
        "often it fires is not in the norms.</p></div>"
    )
    if (place := address.place()) is not None and place.region:
        # As on the table's page: the first step back in the browser brings the feature's parameters with this path.
        st.switch_page(address.NORMS_PAGE, query_params=norm_region.params(view.run.name, place, paging.TABLE_ROWS))
    alive_only = st.toggle(
        "alive only", value=True, key="alive", bind="query-params", help="Leave out features that never fired."
    )
    norms = data.norms(view.store, alive_only)
    if norms.empty:
        st.info("No feature of this run is alive: there is nothing to draw.", icon=":material/bedtime:")
        return
    st.markdown(
        "**Relative norm**",
        help=f"{columns.meaning('relative_norm')} 0.5: it moves both alike. "
        "The count is logarithmic, so that single features at the edges can be seen.",
    )
    figure = figures.relative_norms(norms, labels, view.theme)
    charts.show(figure, "relative", "Histogram of relative decoder norms")
    _scatter(view, norms, labels, names, alive_only)


def _scatter(
    view: View, norms: pd.DataFrame, labels: dict[Partition, str], names: dict[Side, str], alive_only: bool
) -> None:
    st.markdown(
        "**Feature by feature**",
        help="One point a feature. Drag to select a region (or draw around one with the lasso of the chart's tool "
        "bar), or click a point; with shift, a further one is added. What is selected is listed below, and is in the "
        "address.",
    )
    judged = bool(norms["verdict"].notna().any())
    axes, colouring = _choices(view, norms, names, judged)
    placed = norms[norms[axes.columns[1]].notna()]
    if placed.empty:
        st.html('<p class="dfc-muted">No feature has both decoder vectors: there is no cosine to draw.</p>')
        return
    region = address.meant("region", norm_region.unpack)
    if region is not None and norms[norm_region.COLUMNS[region.chart][1]].isna().all():
        region = None  # what it was drawn in is not known of this run
    drawn = _thinned(placed)
    key = f"chart_scatter_{axes.chart}"
    look = (view.run.name, view.theme, axes.chart, colouring, alive_only)
    middle = figures.shared_median(placed, axes)
    figure = figures.scatter(drawn, axes, colouring, labels, view.theme, _outlined(key, look, region), middle)
    charts.select(figure, key, "Scatter of the features' decoder norms", lambda: _keep(key, axes.chart))
    if axes.chart == "cosine":
        st.caption(
            f"{len(norms) - len(placed):,} features are not drawn: those that may act in one model alone have one "
            "decoder vector, and no cosine."
        )
    if region is not None and region.chart != axes.chart:
        st.caption(f"What was selected among {TITLES[region.chart]} stays selected; its outline is not drawn here.")
    if len(drawn) < len(placed):
        st.caption(
            f"{len(drawn):,} of {len(placed):,} points are drawn: all exclusive ones, and a sample of the shared. "
            "A selection takes in those that are not drawn, too."
        )
    if not data.norms_compare(view.store):
        st.caption(
            "Written by an older version: these norms are as the crosscoder sees them, and differ between the models "
            f"as their scales do. `python -m dfc index --again {view.run.name}` measures them so that they compare."
        )
    _listed(view, norms, region, alive_only)


def _outlined(key: str, look: tuple[object, ...], region: Region | None) -> Region | None:
    """What of the selection the figure itself draws.

    A selection made here is drawn by the browser already: another figure would be another chart, drawn anew. One that
    comes with the address, or with other colours, is not.
    """
    text = region.pack() if region else None
    before = st.session_state.get(_DRAWN)
    if key in st.session_state and before is not None and before[:2] == (look, text):
        kept: Region | None = before[2]
        return kept
    st.session_state[_DRAWN] = look, text, region
    return region


def _keep(key: str, chart: Chart) -> None:
    """Write the selection that was made into the address."""
    region = norm_region.selected(chart, st.session_state[key].selection)
    paging.first()
    if region is None:
        st.query_params.pop("region", None)
    else:
        st.query_params["region"] = region.pack()
    if before := st.session_state.get(_DRAWN):
        st.session_state[_DRAWN] = before[0], region.pack() if region else None, before[2]


def _clear() -> None:
    paging.first()
    st.query_params.pop("region", None)


def _choose(run: str, features: list[int]) -> None:
    """Let everything that is selected be what is chosen in the tables."""
    chosen = selection.chosen(run)
    chosen.clear()
    chosen.update(features)


def _choices(view: View, norms: pd.DataFrame, names: dict[Side, str], judged: bool) -> tuple[Axes, Colouring]:
    """What is drawn against what, and what the colours say; what needs evidence is offered once there is some."""
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        titles = dict(TITLES)
        if norms["raw_norm_a"].isna().all():  # an older store
            del titles["raw"]
        if not (judged and norms["decoder_cosine"].notna().any()):
            del titles["cosine"]
        shown: Chart = "norms"
        if len(titles) > 1:
            shown = choice.one_of(
                "Axes",
                titles,
                "axes",
                help="Norms: in each model's typical deviation, so that they compare. Raw: in each stream's own units, "
                "which differ between models. Cosine: whether both models write a shared feature in the same "
                "direction, A's vector carried into B's space by the stitch, a linear map between the streams. 1: the "
                "same, 0: nothing in common.",
            )
        names_of_colours: dict[Colouring, str] = {name: name for name in get_args(Colouring)}
        if not judged:
            del names_of_colours["verdict"]
        colouring = choice.one_of(
            "Colour by",
            names_of_colours,
            "colour",
            help="Partition: which model may use the feature. Verdict: what the evidence says of it. Density: share of "
            "all token pairs on which it fires, on a logarithmic scale.",
        )
    if shown == "cosine":
        return figures.cosine_axes(norms), colouring
    unit = figures.RAW if shown == "raw" else figures.TYPICAL if data.norms_compare(view.store) else figures.SCALED
    return figures.norm_axes(norms, names, shown, unit), colouring


def _thinned(norms: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS rows: the exclusive ones stay, shared ones are sampled."""
    shared = (norms["partition"] == "shared").to_numpy()
    exclusive, others = np.flatnonzero(~shared), np.flatnonzero(shared)
    room = max(1_000, MOST_POINTS - len(exclusive))
    if len(others) <= room:
        return norms
    drawn = np.random.default_rng(0).choice(others, room, replace=False)
    return norms.iloc[np.concatenate([exclusive, np.sort(drawn)])]


def _listed(view: View, norms: pd.DataFrame, region: Region | None, alive_only: bool) -> None:
    """What is selected as a list; a click opens the feature, from which one goes on through the list."""
    chosen = [] if region is None else region.members(norms, alive_only)
    if region is None:
        st.html('<p class="dfc-muted">Nothing is selected: drag over some points, or click one.</p>')
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{len(chosen):,} selected**, those that fire most first.", width="content")
        st.space("stretch")
        if chosen and st.button(
            "Tag, list or report",
            icon=":material/checklist:",
            type="tertiary",
            key="choose_region",
            disabled=len(chosen) > selection.MOST,
            help="Takes the selection to the table of features as what is chosen there, to be tagged, put on a list, "
            f"downloaded or reported; at most {selection.MOST:,} features.",
        ):
            _choose(view.run.name, chosen)
            st.switch_page(address.TABLE_PAGE, query_params={"run": view.run.name, "select": "true"})
        st.button("Clear", icon=":material/close:", type="tertiary", key="clear_region", on_click=_clear)
    if not chosen:
        st.html('<p class="dfc-muted">No feature of this run lies in the region of this address.</p>')
        return
    shown = st.container()
    offset = (paging.choose(len(chosen), paging.TABLE_ROWS) - 1) * paging.TABLE_ROWS
    rows = tuple(chosen[offset : offset + paging.TABLE_ROWS])
    query = FeatureQuery(alive_only=False, ids=rows, order="density", limit=paging.TABLE_ROWS)
    place = Place(FeatureQuery(alive_only=alive_only, order="density"), offset, region=region.pack())
    with shown:
        table = view.store.features(query)
        known = feature_table.chosen(table, alone=True)  # a label and a verdict only where there are some
        raw = region.chart == "raw"
        names = (f"raw_{name}" if raw and name.startswith("norm_") else name for name in COLUMNS)
        shown_columns = tuple(name for name in names if name not in ("label", "verdict") or name in known)
        feature_table.show(view, table, "selected", shown_columns, place)
