"""A feature in a list: what it is called, where it comes from, and its strongest context."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc.config import Side
from dfc.report.heatmap import called, context_html, excerpt
from dfc.report.words import percent
from dfc.store.reader import Context
from dfc.ui.shell import data, links
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import verdict_badge
from dfc.ui.shell.text import chips, one_in

EXCERPT_BEFORE, EXCERPT_AFTER = 130, 70


def row(view: View, feature: Any, context: Context | None, side: Side, place: Place | None = None) -> None:
    """One feature: a link with its figures on the left, its strongest context on the right.

    Args:
        view: the page.
        feature: a row of `Store.features`, as a named tuple; without a verdict before `verify`.
        context: its strongest context, if it has one.
        side: in whose tokens the context is shown.
        place: the list the feature stands in, passed on to its page.
    """
    identity = int(feature.feature_id)
    with st.container(key=f"found_{identity}"):
        left, right = st.columns([2, 5], gap="medium")
        with left:
            links.feature(view.run.name, identity, place=place)
            st.html(_about(view, feature))
        if context is None:
            right.html('<p class="dfc-muted">No context was kept.</p>')
        else:
            shown = excerpt(context, side, EXCERPT_BEFORE, EXCERPT_AFTER)
            right.html(f'<div class="dfc-text">{context_html(shown, side, feature.max, feature.partition)}</div>')


def _about(view: View, feature: Any) -> str:
    """What it is called, what the evidence says, where and how often it fires."""
    tokens = list(feature.peak_tokens)
    badge, judged = "", isinstance(feature.verdict, str)
    if judged:
        score, facts = float(feature.confidence), data.facts(view.store)
        badge = verdict_badge(feature.verdict, score, feature.partition, view.theme, facts)
    where = f"{percent(float(feature.specificity), 2)} on {escape(feature.main_source)} · " if feature.alive else ""
    return (
        f'<div class="dfc-{feature.partition}"><div class="dfc-about">{escape(called(feature.label))}</div>'
        + (f"<div>{badge}</div>" if badge else "")
        + f'<div class="dfc-small">{where}fires {one_in(float(feature.density))}</div>'
        + f"{chips(tokens[:4])}</div>"
    )
