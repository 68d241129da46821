"""The findings that come nearest to a feature in meaning."""

from __future__ import annotations

import streamlit as st

from dfc.config import PARTITIONS, Side
from dfc.report.heatmap import called
from dfc.store.reader import FeatureQuery, FeatureRow
from dfc.ui.shell import data, likeness, links
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

_FIRST = 5


def show(view: View, feature: FeatureRow, names: dict[Side, str]) -> None:
    """Draw the panel, if the run has findings; the command that makes it where what features mean is not known."""
    found = {one.feature_id: one for one in data.findings(view.store)}
    if not found:
        return
    st.markdown(
        "**Nearest findings in meaning**",
        help="Findings whose best feature fires on texts that are about the same, whatever their language: cosine of "
        "what their strongest contexts are about, as a small encoder reads them. It is not one of the models compared.",
    )
    if not likeness.facts_of(view.store):
        st.caption(likeness.lacking(view))
        return
    alike = view.store.alike(feature.feature_id, _FIRST, findings=True)
    if alike.empty:
        st.html('<p class="dfc-muted">None.</p>')
        return
    with st.container(gap="xxsmall", key="nearest"):
        for other, near in zip(alike["other_id"].tolist(), alike["likeness"].tolist(), strict=True):
            finding = found[other]
            query = FeatureQuery(
                partitions=PARTITIONS, finding=finding.finding, alive_only=False, order="place", descending=False
            )
            title = f"{finding.rank} of {names[finding.side]}\u2002{called(finding.label)}\u2002{near:.2f}"
            links.feature(view.run.name, other, plain(title), Place(query, 0))
