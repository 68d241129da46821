"""To which finding a feature belongs, and what else is in it."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, Side
from dfc.report import findings
from dfc.report.findings import Finding
from dfc.store import columns
from dfc.store.reader import FeatureQuery, FeatureRow
from dfc.ui.shell import address, data, links
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import called, plain

OTHERS = 4
"""Features of the same finding that are linked to."""


def show(view: View, feature: FeatureRow, names: dict[Side, str]) -> None:
    """Draw the panel, if it belongs to one."""
    evidence = view.store.evidence(feature.feature_id)
    if evidence is None or evidence.finding is None:
        return
    found = data.findings(view.store)
    finding = next((one for one in found if one.finding == evidence.finding), None)
    if finding is None:
        return
    of_side = sum(one.side == finding.side for one in found)
    st.markdown("**Which finding it belongs to**", help=columns.meaning("finding"))
    st.html(
        f'<div class="dfc-claim">{_words(finding, int(evidence.place), of_side, names)}</div>'
        f'<div class="dfc-small">{escape(_figures(finding, evidence))}</div>'
    )
    query = FeatureQuery(
        partitions=PARTITIONS, finding=finding.finding, alive_only=False, order="place", descending=False
    )
    rows: Any = data.features(view.store, query).head(OTHERS + 1).itertuples()
    with st.container(gap="xxsmall", key="others"):
        shown = [(place, row) for place, row in enumerate(rows) if row.feature_id != feature.feature_id][:OTHERS]
        for place, row in shown:
            title = f"{int(row.feature_id)}\u2002{plain(called(row.label, row.peak_tokens))}"
            links.feature(view.run.name, int(row.feature_id), title, Place(query, place))
        st.page_link(
            address.FINDINGS_PAGE,
            label="Among the findings" if finding.members == 1 else f"All {finding.members:,} among the findings",
            icon=":material/lightbulb:",
            query_params=address.list_params(view.run.name, Place(query, 0)),
        )


def _words(finding: Finding, place: int, of_side: int, names: dict[Side, str]) -> str:
    """Its rank and the feature's place in it, as HTML."""
    which = f"Finding {finding.rank:,} of {of_side:,} where {side_name(finding.side, names)} knows better what follows"
    if finding.members == 1:
        return f"{which}; this is its only feature."
    here = "the best" if place == 0 else f"number {place + 1:,}"
    return f"{which}; this is {here} of its {finding.members:,} features."


def _figures(finding: Finding, evidence: Any) -> str:
    """What the feature's own gaps come to, all in favour of the finding's model."""
    sign = -1.0 if evidence.matched_gap < 0 else 1.0  # the store has them in favour of the feature's own model

    def told(gap: float | None, error: float | None) -> str:
        return findings.amount(None if gap is None else sign * gap, error)

    matched, raw = (
        told(evidence.matched_gap, evidence.matched_error),
        told(evidence.surprise_gap, evidence.surprise_error),
    )
    held_out = told(evidence.held_out_gap, evidence.held_out_error)
    return (
        f"By {matched} {findings.UNIT} beyond matched places ({held_out} on held-out documents); by {raw} beyond the "
        "middle document."
    )
