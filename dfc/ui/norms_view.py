"""Decoder norms: how strongly each model writes each feature, and which features lie where."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dfc.config import Partition
from dfc.ui import charts, data, feature_table
from dfc.ui.frame import View, model_names

MOST_POINTS = 20_000
MOST_LISTED = 200
COLUMNS = ("feature_id", "partition", "peak_tokens", "density", "norm_a", "norm_b", "relative_norm")


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
    charts.show(charts.relative_norms(norms, labels, view.theme), "relative", "Histogram of relative decoder norms")
    st.markdown(
        "**Norm in A against norm in B**",
        help="One point a feature. Drag to select a region, or click a point; what is selected is listed below.",
    )
    drawn = _thinned(norms)
    figure = charts.norm_scatter(drawn, labels, names, view.theme)
    chosen = charts.select(figure, "scatter", "Scatter of the decoder norms in both models")
    if len(drawn) < len(norms):
        st.caption(
            f"{len(drawn):,} of {len(norms):,} points are drawn: all exclusive ones, and a sample of the shared."
        )
    _listed(view, norms, chosen)


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
    rows = norms[norms["feature_id"].isin(chosen)].sort_values("density", ascending=False)
    rest = f"; the first {MOST_LISTED} are listed" if len(rows) > MOST_LISTED else ""
    st.markdown(f"**{len(rows):,} selected**, those that fire most first{rest}. Click a row to open it.")
    feature_table.show(view, rows.head(MOST_LISTED), "selected", COLUMNS)
