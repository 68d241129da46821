"""The features of a finding, unfolded under it; which finding is unfolded stands in the address."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dfc.config import PARTITIONS
from dfc.report.findings import Finding
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import address, data, feature_table
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.list_address import GROUP

MOST = 100
"""Features that are listed."""


def offer(view: View, finding: Finding, beside: bool) -> None:
    """A button that unfolds a finding of several features, and these if it is the one in the address.

    Args:
        view: the page.
        finding: which.
        beside: whether there is only half of the page for it.
    """
    if finding.members == 1:
        return
    unfolded = address.whole(address.get(GROUP) or "") == finding.finding
    st.button(
        f"{finding.members:,} features",
        icon=":material/unfold_less:" if unfolded else ":material/unfold_more:",
        type="tertiary",
        key=f"unfold_{finding.finding}",
        on_click=_fold if unfolded else _unfold,
        args=() if unfolded else (finding,),
        help="Where they fire the same model does better; without the passages of a better one, that is not sure.",
    )
    if unfolded:
        _members(view, finding, beside)


def _members(view: View, finding: Finding, beside: bool) -> None:
    query = FeatureQuery(
        partitions=PARTITIONS, finding=finding.finding, alive_only=False, order="place", descending=False
    )
    table = data.features(view.store, replace(query, limit=MOST))
    # The store has a gap in favour of a feature's own model; all features of a finding know the same way.
    shown = table.assign(toward=table["matched_gap"].abs())
    half = ("feature_id", "toward", "label", "main_source")
    names = half if beside else ("feature_id", "label", "partition", "toward", "density", "main_source")
    feature_table.show(view, shown, f"members_{finding.finding}", names, Place(query, 0))
    if finding.members > MOST:
        st.caption(f"The first {MOST} of {finding.members:,}; the others follow on the features' pages.")


def _unfold(finding: Finding) -> None:
    st.query_params[GROUP] = str(finding.finding)


def _fold() -> None:
    st.query_params.pop(GROUP, None)
