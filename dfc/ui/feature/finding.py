"""To which finding a feature belongs, and what else is in it."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, Side
from dfc.report import findings
from dfc.report.heatmap import called
from dfc.store import columns
from dfc.store.reader import EvidenceRow, FeatureQuery, FeatureRow
from dfc.ui.shell import address, data, links, list_address
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

OTHERS = 4
"""Features of the same finding that are linked to."""


def show(view: View, feature: FeatureRow, evidence: EvidenceRow | None, names: dict[Side, str]) -> None:
    """Draw the panel, if it belongs to one."""
    if evidence is None or evidence.finding is None:
        return
    found = data.findings(view.store)
    finding = next((one for one in found if one.finding == evidence.finding), None)
    if finding is None:
        return
    st.markdown("**Which finding it belongs to**", help=columns.meaning("finding"))
    words, figures = findings.belonging(evidence, found, names), findings.gaps(evidence)
    st.html(
        f'<div class="dfc-claim">{escape(words.removesuffix(figures))}</div>'
        f'<div class="dfc-small">{escape(figures)}</div>'
    )
    query = FeatureQuery(
        partitions=PARTITIONS, finding=finding.finding, alive_only=False, order="place", descending=False
    )
    rows: Any = view.store.members([finding.finding]).head(OTHERS + 1).itertuples()
    with st.container(gap="xxsmall", key="others"):
        shown = [(place, row) for place, row in enumerate(rows) if row.feature_id != feature.feature_id][:OTHERS]
        for place, row in shown:
            title = f"{int(row.feature_id)}\u2002{plain(called(row.label))}"
            links.feature(view.run.name, int(row.feature_id), title, Place(query, place))
        st.page_link(
            address.FINDINGS_PAGE,
            label="Among the findings"
            if finding.members == 1
            else f"Its {finding.members:,} features among the findings",
            icon=":material/lightbulb:",
            query_params=list_address.findings(view, Place(query, 0)),
        )
