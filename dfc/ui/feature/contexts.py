"""The contexts of a feature as token heat maps, band by band, in either tokenisation or both."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Literal
from urllib.parse import urlencode

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.heatmap import context_html, side_of
from dfc.report.palette import ramp
from dfc.store.reader import Context, FeatureRow
from dfc.ui.feature import document
from dfc.ui.shell import address, choice, turns
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import number

BANDS = {
    0: ("Strongest contexts", "where it fires most, one after another"),
    1: ("Upper quarter of the rest", "samples; a real meaning still holds here"),
    2: ("Second quarter", "samples from weaker firings"),
    3: ("Third quarter", "samples from still weaker firings"),
    4: ("Weakest quarter", "samples; often noise"),
}
"""Bands of contexts: title and meaning."""
_TOKENS: dict[Side | Literal["both"], str] = {"a": "A", "b": "B", "both": "both"}


def show(view: View, feature: FeatureRow) -> None:
    """Draw the contexts, with the choice of the tokenisation above them."""
    contexts = view.store.contexts(feature.feature_id)
    with st.container(key="context_tools"):
        tools = st.columns([2.7, 2.7, 2.3], vertical_alignment="bottom", gap="medium")
    with tools[0]:
        shown = choice.one_of(
            "Tokens of",
            _TOKENS,
            "tokens",
            side_of(feature.partition),
            help="The same texts, cut into tokens as one model or the other sees them.",
        )
    with tools[2]:
        _try(view, feature)
    sides = SIDES if shown == "both" else (shown,)
    if not contexts:
        st.html('<p class="dfc-muted">No contexts were kept for this feature.</p>')
        return
    with tools[1]:
        document.offer(contexts)
    st.html(_key(view, feature))
    document.show(view, feature, contexts)
    for band, group in groupby(contexts, key=lambda context: context.band):
        title, meaning = BANDS.get(band, (f"Band {band}", ""))
        rows = "".join(_row(view, context, sides, feature) for context in group)
        st.html(f'<div class="dfc-band"><b>{title}</b> <span class="dfc-small">{meaning}</span></div>{rows}')


def _try(view: View, feature: FeatureRow) -> None:
    """A text of one's own, to be read on the Prompt page, coloured by the feature."""
    with st.popover(
        "Test a text", icon=":material/edit_note:", help="See whether it fires on a text of your own.", width="stretch"
    ):
        with st.form(f"try_{feature.feature_id}", border=False, enter_to_submit=True):
            st.text_area("Text", key="try_text", width=420, placeholder="Type or paste a text; Ctrl + Enter reads it")
            asked = st.form_submit_button("Read it with both models", icon=":material/visibility:", type="primary")
        if asked and (text := st.session_state["try_text"].strip()):
            if not turns.fits(text):
                st.warning("This text is too long for an address; give it to the Prompt page itself.")
                return
            st.switch_page(
                address.PROMPT_PAGE, query_params=address.text_params(view.run.name, text, feature.feature_id)
            )


def _row(view: View, context: Context, sides: Sequence[Side], feature: FeatureRow) -> str:
    speaker = document.SPEAKERS.get(context.role, context.role)
    about = f"{f'{speaker}, ' if speaker else ''}document {context.document:,}"
    read = urlencode(address.prompt_params(view.run.name, context.document, feature.feature_id))
    page = f"{address.PROMPT_PATH}?{escape(read)}"
    texts = "".join(
        f'<div class="dfc-text">{context_html(context, side, feature.max, feature.partition, about)}</div>'
        for side in sides
    )
    return (
        f'<div class="dfc-row"><div class="dfc-about"><b>{number(context.peak)}</b>'
        f"<span>{escape(context.source)}</span>{f'<span>{escape(speaker)}</span>' if speaker else ''}"
        f'<a href="{page}" target="_self" title="Read it whole with both models">document {context.document:,}</a>'
        f"</div>{texts}</div>"
    )


def _key(view: View, feature: FeatureRow) -> str:
    """How to read the colours."""
    steps = "".join(f'<i style="background:{colour}"></i>' for colour in ramp(feature.partition, view.theme))
    return (
        f'<div class="dfc-key"><span>0</span><span class="dfc-ramp">{steps}</span><span>{number(feature.max)}</span>'
        "<span>framed: the peak · grey: tokens without a partner in the other model</span></div>"
    )
