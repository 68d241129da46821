"""Decoder norms: how strongly each model writes each feature, and which features lie where."""

from __future__ import annotations

from typing import get_args

import pandas as pd
import streamlit as st

from dfc.config import Partition, Side
from dfc.store.reader import FeatureQuery
from dfc.ui import charts, data, feature_table, norm_charts
from dfc.ui.frame import View, model_names
from dfc.ui.norm_charts import Axes, Colouring

MOST_POINTS = 20_000
MOST_LISTED = 200
COLUMNS = ("feature_id", "partition", "peak_tokens", "density", "norm_a", "norm_b", "relative_norm")
AXES = ("both norms", "relative norm and cosine")


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    labels: dict[Partition, str] = {
        "a": f"only in {names['a']}",
        "b": f"only in {names['b']}",
        "shared": "shared by both",
    }
    st.html(
        '<div class="dfc-hero"><h1>Decoder norms</h1><p>A feature adds a vector to each model\'s stream; its length '
        "says how much that model uses the feature. Dedicated features have a vector in one model only. Among the "
        "shared ones, look at the edges: a feature with most of its norm on one side leans to that model.</p></div>"
    )
    norms = data.norms(view.store)
    if st.toggle(
        "alive only", value=True, key="alive", bind="query-params", help="Leave out features that never fired."
    ):
        norms = norms[norms["alive"]]
    if norms.empty:
        st.info("No feature of this run is alive: there is nothing to draw.", icon=":material/bedtime:")
        return
    st.markdown(
        "**Relative norm**",
        help="‖d_A‖ / (‖d_A‖ + ‖d_B‖). 1: only A has a vector, 0: only B, 0.5: both use it alike. "
        "The count is logarithmic, so that single features at the edges can be seen.",
    )
    figure = norm_charts.relative_norms(norms, labels, view.theme)
    charts.show(figure, "relative", "Histogram of relative decoder norms")
    _scatter(view, norms, labels, names)


def _scatter(view: View, norms: pd.DataFrame, labels: dict[Partition, str], names: dict[Side, str]) -> None:
    st.markdown(
        "**Feature by feature**",
        help="One point a feature. Drag to select a region (or draw around one with the lasso of the chart's tool "
        "bar), or click a point; what is selected is listed below.",
    )
    judged = bool(norms["verdict"].notna().any())
    axes, colouring = _choices(norms, names, judged)
    norms = norms[norms[axes.y].notna()]
    if norms.empty:
        st.html('<p class="dfc-muted">No feature has both decoder vectors: there is no cosine to draw.</p>')
        return
    drawn = _thinned(norms)
    figure = norm_charts.scatter(drawn, axes, colouring, labels, view.theme)
    selection = charts.select(figure, f"scatter_{axes.y}", "Scatter of the features' decoder norms")
    if len(drawn) < len(norms):
        st.caption(
            f"{len(drawn):,} of {len(norms):,} points are drawn: all exclusive ones, and a sample of the shared. "
            "A selection takes in those that are not drawn, too."
        )
    _listed(view, norms, norms.loc[norm_charts.within(norms, axes, selection), "feature_id"].tolist())


def _choices(norms: pd.DataFrame, names: dict[Side, str], judged: bool) -> tuple[Axes, Colouring]:
    """What is drawn against what, and what the colours say; what needs evidence is offered once there is some."""
    with st.container(horizontal=True, gap="large", vertical_alignment="bottom"):
        shown = AXES[0]
        if judged and norms["decoder_cosine"].notna().any():
            shown = st.segmented_control(
                "Axes",
                AXES,
                default=AXES[0],
                required=True,
                key="axes",
                bind="query-params",
                help="Cosine: whether both models write a shared feature in the same direction, A's vector carried "
                "into B's space by the stitch, a linear map between the streams. 1: the same, 0: nothing in common.",
            )
        colours = [name for name in get_args(Colouring) if judged or name != "verdict"]
        colouring: Colouring = st.segmented_control(
            "Colour by",
            colours,
            default="partition",
            required=True,
            key="colour",
            bind="query-params",
            help="Partition: which model may use the feature. Verdict: what the evidence says of it. Density: share of "
            "all token pairs on which it fires, on a logarithmic scale.",
        )
    return (norm_charts.norm_axes(norms, names) if shown == AXES[0] else norm_charts.cosine_axes(norms)), colouring


def _thinned(norms: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS rows: the exclusive ones stay, shared ones are sampled."""
    shared = norms["partition"] == "shared"
    room = max(1_000, MOST_POINTS - int((~shared).sum()))
    if int(shared.sum()) <= room:
        return norms
    return pd.concat([norms[~shared], norms[shared].sample(room, random_state=0).sort_index()])


def _listed(view: View, norms: pd.DataFrame, chosen: list[int]) -> None:
    if not chosen:
        st.html('<p class="dfc-muted">Nothing is selected: drag over some points, or click one.</p>')
        return
    rows = norms[norms["feature_id"].isin(chosen)].sort_values("density", ascending=False).head(MOST_LISTED)
    rest = f"; the first {MOST_LISTED} are listed" if len(chosen) > MOST_LISTED else ""
    st.markdown(f"**{len(chosen):,} selected**, those that fire most first{rest}. Click a row to open it.")
    query = FeatureQuery(alive_only=False, ids=tuple(rows["feature_id"].tolist()), order="density", limit=MOST_LISTED)
    feature_table.show(view, view.store.features(query), "selected", COLUMNS)
