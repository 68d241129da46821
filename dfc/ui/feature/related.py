"""Features that have to do with one: they fire with it, their vectors point its way, or they are about the same."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dfc.report.heatmap import called
from dfc.store.reader import FeatureRow
from dfc.ui.shell import address
from dfc.ui.shell.frame import View

_EACH = 5


def show(view: View, feature: FeatureRow) -> None:
    """Draw the table; a click on a row opens that feature."""
    related = _related(view, feature)
    st.markdown(
        "**Related features**",
        help="Fires with: correlation of firing over pairs of tokens (φ). Direction: cosine of the decoder vectors in "
        "a model. A into B: the same across the models, A's vector carried into B's space by the stitch. Meaning: "
        "cosine of what their strongest contexts are about, as a small encoder reads them.",
    )
    if related.empty:
        st.html('<p class="dfc-muted">None were found.</p>')
        return
    column = st.column_config
    event: Any = st.dataframe(
        related,
        hide_index=True,
        column_order=("feature_id", "how", "strength", "about"),
        column_config={
            "feature_id": column.NumberColumn("feature", format="%d", width=58, help="Click a row to open it."),
            "how": column.TextColumn("how", width=84),
            "strength": column.NumberColumn("φ, cos", format="%.2f", width=60),
            "about": column.TextColumn("about", help="Its label.", width=120),
        },
        key=f"related_{feature.feature_id}",
        on_select="rerun",
        selection_mode="single-cell",
        row_height=30,
        height=min(30 * len(related) + 38, 420),
        alt="Related features, one a row; click a row to open it",
    )
    if cells := event.selection.cells if event else []:
        chosen = int(related["feature_id"].iloc[int(cells[0][0])])
        st.switch_page(address.FEATURE_PAGE, query_params=address.feature_params(view.run.name, chosen))


def _related(view: View, feature: FeatureRow) -> pd.DataFrame:
    """Rows with feature_id, how, strength and about, the strongest of each kind first."""
    kinds = {"a": "direction, A", "b": "direction, B", "a_to_b": "A into B", "b_to_a": "B into A"}
    partners = view.store.coactivations(feature.feature_id).head(_EACH)
    near = view.store.neighbours(feature.feature_id).groupby("kind").head(_EACH)
    alike = view.store.alike(feature.feature_id, _EACH)
    related = pd.concat(
        [
            pd.DataFrame({"feature_id": partners["other_id"], "how": "fires with", "strength": partners["phi"]}),
            pd.DataFrame(
                {"feature_id": near["other_id"], "how": near["kind"].map(kinds), "strength": near["similarity"]}
            ),
            pd.DataFrame({"feature_id": alike["other_id"], "how": "meaning", "strength": alike["likeness"]}),
        ],
        ignore_index=True,
    )
    if related.empty:
        return related
    labels = view.store.labels_of(related["feature_id"].tolist())
    return related.assign(about=[called(labels.get(other)) for other in related["feature_id"].tolist()])
