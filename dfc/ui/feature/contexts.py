"""The contexts of a feature as token heat maps, band by band, in either tokenisation or both."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Literal
from urllib.parse import urlencode

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.heatmap import Hue, context_html
from dfc.report.palette import ramp
from dfc.store.reader import FeatureRow
from dfc.ui.feature import document, gaps, trying
from dfc.ui.feature.gaps import Coloured
from dfc.ui.shell import address, choice
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
_COLOURS: dict[Literal["activation", "gap"], str] = {
    "activation": "where it fires",
    "gap": "who expects it better",
}
_TOKENS: dict[Side | Literal["both"], str] = {"a": "A", "b": "B", "both": "both"}


def show(view: View, feature: FeatureRow, own: Side) -> None:
    """Draw the contexts, with the choice of the tokenisation above them."""
    contexts = view.store.contexts(feature.feature_id)
    trying.show(view, feature)
    tools = st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="context_tools")
    with tools:
        tokens = choice.one_of(
            "Tokens of",
            _TOKENS,
            "tokens",
            own,
            help="The same texts, cut into tokens as one model or the other sees them.",
        )
    sides = SIDES if tokens == "both" else (tokens,)
    if not contexts:
        st.html('<p class="dfc-muted">No contexts were kept for this feature.</p>')
        return
    with tools:
        colour = choice.one_of(
            "Colours",
            _COLOURS,
            "contexts_by",
            help="Where it fires: its activation. Who expects it better: by how many nats one model is less surprised "
            "than the other by the same characters, as far as `verify` measured it. Verdicts and findings rest on "
            "that, over what follows each firing, compared with matched places.",
        )
        document.offer(contexts)
    hue: Hue = feature.partition
    shown, top = [Coloured(context, {}) for context in contexts], feature.max
    if colour == "gap":
        measured = view.store.pair_gaps([context.document for context in contexts])
        hue, shown = "between", [gaps.coloured(context, measured.get(context.document)) for context in contexts]
        top = gaps.show(view, shown)
    else:
        st.html(_key(view, feature))
    document.show(view, feature, contexts)
    for band, group in groupby(shown, key=lambda one: one.context.band):
        title, meaning = BANDS.get(band, (f"Band {band}", ""))
        rows = "".join(_row(view, one, sides, feature, top, hue) for one in group)
        st.html(f'<div class="dfc-band"><b>{title}</b> <span class="dfc-small">{meaning}</span></div>{rows}')


def _row(view: View, shown: Coloured, sides: Sequence[Side], feature: FeatureRow, top: float, hue: Hue) -> str:
    context = shown.context
    speaker = document.SPEAKERS.get(context.role, context.role)
    about = f"{f'{speaker}, ' if speaker else ''}document {context.document:,}"
    read = urlencode(address.prompt_params(view.run.name, context.document, feature.feature_id))
    page = f"{address.PROMPT_PATH}?{escape(read)}"
    texts = "".join(
        f'<div class="dfc-text">{context_html(context, side, top, hue, about, shown.notes.get(side, ()))}</div>'
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
