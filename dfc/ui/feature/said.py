"""What judges and people say a feature is about, how well it was told by, and a label of one's own."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st

from dfc.config import characters
from dfc.report import said
from dfc.runs import Run
from dfc.store import along
from dfc.store.book import NAME_LENGTH
from dfc.store.explanations import LABEL_LENGTH, NOTHING, ExplanationStore, Told
from dfc.store.reader import FeatureRow
from dfc.ui.shell import notebook
from dfc.ui.shell.frame import View

_BY = "labelled_by"


def show(view: View, feature: FeatureRow) -> None:
    """Draw the panel."""
    kept = ExplanationStore(view.run.explanations)
    told = kept.told({feature.feature_id: feature.fingerprint}).get(feature.feature_id, NOTHING)
    if told.explanations:
        st.markdown("**What it is said to be about**", help=said.BY_JUDGE)
    for one in told.explanations:
        st.html(
            f'<div class="dfc-claim">{escape(characters.shown(one.text))}</div>'
            f'<div class="dfc-small">{escape(said.source(one))}</div>'
        )
    if told.applying:
        st.html("".join(f'<div class="dfc-small"><b>flag</b> {escape(said.named(one))}</div>' for one in told.applying))
    _own(view.run, feature, told)


def _own(run: Run, feature: FeatureRow, told: Told) -> None:
    """Where a person gives the feature a label."""
    mine = next((one for one in told.explanations if one.origin == "person"), None)
    key = f"own_label_{feature.feature_id}"
    with st.popover("Label it" if mine is None else "Change the label", icon=":material/label:"):
        before = "" if mine is None else mine.text
        st.text_input(
            "Label",
            before,
            key=key,
            max_chars=LABEL_LENGTH,
            help="It stands before what words and judges say, wherever the feature is named. Empty: there is none.",
        )
        known = st.session_state.get(notebook.WHO, "")
        who = st.text_input("Your name", known, key=_BY, max_chars=NAME_LENGTH)
        lacking = "" if who.strip() else "Give your name first: a label is kept with it."
        asked = run, feature, key, before
        st.button("Keep", key="keep_label", disabled=bool(lacking), help=lacking or None, on_click=_keep, args=asked)


def _keep(run: Run, feature: FeatureRow, key: str, before: str) -> None:
    who, text = st.session_state[_BY], st.session_state[key]
    if text.strip() == before:
        return  # it says so already
    of = feature.feature_id, feature.fingerprint
    if notebook.change(partial(along.label, run, notebook.book(), *of, who, text)):
        st.session_state[notebook.WHO] = who.strip()
