"""A finding in a list: what it fires on, how much better its model knows what follows, and what is claimed."""

from __future__ import annotations

import math
from html import escape
from typing import Any, Literal

import streamlit as st

from dfc.report import findings
from dfc.report.findings import Finding
from dfc.report.heatmap import called, context_html, excerpt
from dfc.report.words import capital
from dfc.store import columns
from dfc.store.reader import Context
from dfc.ui.shell import data, links
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import verdict_badge
from dfc.ui.shell.text import plain

Room = Literal["wide", "half"]
"""For a row: the page's width, or half of it."""
_EXCERPTS: dict[Room, tuple[int, int]] = {"wide": (150, 110), "half": (90, 60)}
_BRIEF = (20, 14)
"""Columns of text before and after the peak where there is one line for it."""
MEASURED = (
    "By how many nats a character its model does better, beside the other one, where its best feature fires than at "
    "matched places; thin line: one standard error to either side."
)


def row(
    view: View,
    finding: Finding,
    feature: Any,
    context: Context | None,
    place: Place,
    longest: float,
    room: Room,
    searched: str = "",
) -> None:
    """One finding: a link to its best feature with its rank, the gap as a bar, its strongest context, what is claimed.

    Args:
        view: the page.
        finding: which.
        feature: its best feature, a row of `Store.features` as a named tuple.
        context: its strongest context, if it has one.
        place: in the list of findings, passed on to the feature's page.
        longest: the gap that fills the bar.
        room: how much there is for it.
        searched: why a search found it, if one did.
    """
    title = called(feature.label)
    left, right = st.columns([2, 3], gap="medium") if room == "wide" else (st.container(), st.container())
    with left:
        links.feature(view.run.name, finding.feature_id, f"{finding.rank}\u2002**{plain(title)}**", place)
        st.html(bar(finding, longest))
        if room == "wide":
            st.html(_about(view, finding, feature))
    if context is None:
        right.html('<p class="dfc-muted">No context was kept.</p>')
    else:
        shown = excerpt(context, finding.side, *_EXCERPTS[room])
        text = context_html(shown, finding.side, feature.max, finding.partition)
        right.html(f'<div class="dfc-text">{text}</div>')
    if searched:
        right.html(f'<div class="dfc-small">searched: {escape(searched)}</div>')
    if room == "half":
        st.html(_about(view, finding, feature))


def brief(view: View, finding: Finding, feature: Any, context: Context | None, place: Place, longest: float) -> None:
    """One finding in two lines: the link, and under it its strongest context and the gap; arguments as of `row`."""
    title = called(feature.label)
    links.feature(view.run.name, finding.feature_id, f"{finding.rank}\u2002**{plain(title)}**", place)
    text = "no context was kept"
    if context is not None:
        text = context_html(excerpt(context, finding.side, *_BRIEF), finding.side, feature.max, finding.partition)
    st.html(
        f'<div class="dfc-brief"><div class="dfc-text dfc-line">{text}</div>'
        f'<span class="dfc-small" title="{escape(_briefly(finding))}">{_SHORT.get(finding.partition, "")}</span>'
        f"{bar(finding, longest)}</div>"
    )


def scale(listed: tuple[Finding, ...]) -> float:
    """The gap that fills a bar, for all findings of a run alike."""
    ends = [finding.gap + finding.error for finding in listed]
    return max((end for end in ends if math.isfinite(end)), default=1.0)


def bar(finding: Finding, longest: float) -> str:
    """The gap as a bar in the model's colour, with its standard error."""
    middle, low, high = (
        100 * min(1.0, max(0.0, value / longest))
        for value in (finding.gap, finding.gap - finding.error, finding.gap + finding.error)
    )
    return (
        f'<div class="dfc-gap dfc-{finding.side}" title="{escape(MEASURED)}"><span class="dfc-bar">'
        f'<i style="width:{middle:.1f}%"></i><b style="left:{low:.1f}%;width:{high - low:.1f}%"></b></span>'
        f"<span>{findings.amount(finding.gap, finding.error)}</span></div>"
    )


def _about(view: View, finding: Finding, feature: Any) -> str:
    """What is claimed, and on how much it stands."""
    words = findings.claim(finding)
    verdict = ""
    if finding.partition != "shared":
        score, facts = float(feature.confidence), data.facts(view.store)
        verdict = f" {verdict_badge(finding.verdict, score, finding.partition, view.theme, facts)}"
    held_out = findings.held_out(finding)
    plainly = findings.amount(finding.plain_gap, finding.plain_error)
    spread = f'<span title="{escape(findings.SPREAD)}">{findings.spread(finding)}</span>'
    return (
        f'<div class="dfc-claim">{escape(capital(words))}.{verdict}</div>'
        f'<div class="dfc-small"><span title="{escape(columns.meaning("held_out_gap"))}">held out {held_out}</span> · '
        f'<span title="{escape(columns.meaning("plain_gap"))}">plainly {plainly}</span> · '
        f"densest on {escape(finding.main_source)} · {spread} · feature {finding.feature_id}</div>"
    )


_SHORT = {"shared": "both", "a": "A alone", "b": "B alone"}
"""Who may use its best feature, where there is hardly any room."""


def _briefly(finding: Finding) -> str:
    whose = {"shared": "both may use it", finding.side: f"only {finding.side.upper()} may use it"}
    claimed = whose.get(finding.partition, f"only {finding.partition.upper()} may use it")
    size = "" if finding.members == 1 else f" · {finding.members:,} features"
    return f"{claimed} · {finding.main_source}{size} · {finding.documents:,} documents"
