"""Links to a feature: to its own page, and to steering with it."""

from __future__ import annotations

import streamlit as st

from dfc.config import Side
from dfc.ui.shell import address
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View


def feature(run_name: str, identity: int, label: str | None = None, place: Place | None = None) -> None:
    """To a feature's page, with the list it stands in."""
    st.page_link(
        address.FEATURE_PAGE,
        label=label or f"Feature {identity}",
        icon=":material/arrow_outward:",
        icon_position="right",
        query_params=address.feature_params(run_name, identity, place),
    )


def steer(view: View, identity: int, side: Side, sweep: str | None = None) -> None:
    """To steering a model with a feature; `sweep` is the set of prompts of a sweep that is ready to be run."""
    ready = {} if sweep is None else {"more": "sweep", "sweep_set": sweep}
    st.page_link(
        address.STEER_PAGE,
        label="Steer with it" if sweep is None else f"Steer with it: a sweep on “{sweep}”",
        icon=":material/explore:",
        query_params=address.feature_params(view.run.name, identity) | {"side": side.upper()} | ready,
    )
