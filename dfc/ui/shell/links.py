"""Links to a feature: to its own page, and to steering with it."""

from __future__ import annotations

import streamlit as st

from dfc.report.heatmap import side_of
from dfc.store.reader import FeatureRow
from dfc.ui.shell import address
from dfc.ui.shell.address import Place


def feature(run_name: str, identity: int, label: str | None = None, place: Place | None = None) -> None:
    """To a feature's page, with the list it stands in."""
    st.page_link(
        address.FEATURE_PAGE,
        label=label or f"Feature {identity}",
        icon=":material/arrow_outward:",
        icon_position="right",
        query_params=address.feature_params(run_name, identity, place),
    )


def steer(run_name: str, feature: FeatureRow) -> None:
    """To steering the model that a feature is of."""
    st.page_link(
        address.STEER_PAGE,
        label="Steer with it",
        icon=":material/explore:",
        query_params=address.feature_params(run_name, feature.feature_id)
        | {"side": side_of(feature.partition).upper()},
    )
