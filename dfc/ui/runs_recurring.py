"""Which findings of a run come back in other runs, and where a feature stands in them."""

from __future__ import annotations

import shlex

import streamlit as st

from dfc.ui.frame import View
from dfc.ui.runs_data import Summary
from dfc.ui.style import section


def show(view: View, summaries: list[Summary]) -> None:
    """Draw both sections."""
    section(
        "Which findings come back",
        "A feature recurs where another run, trained from another start, has one that fires like it.",
    )
    names = [summary.name for summary in summaries]
    if len(names) < 2:
        st.html(
            '<p class="dfc-muted">Train the same pair again with another <code>training.seed</code>, choose both runs '
            "above, and compare what they found.</p>"
        )
        return
    st.html('<p class="dfc-muted">These runs have not been compared yet. This does it, then reload:</p>')
    st.code(f"python -m dfc stability {' '.join(map(shlex.quote, names))}", language="bash")
