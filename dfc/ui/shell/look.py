"""The look: one sheet of CSS over the theme in .streamlit/config.toml, and small pieces of HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dfc.config import Partition, Side, Verdict
from dfc.report.heatmap import HEATMAP_CSS
from dfc.report.palette import Theme, css_variables, verdict_marks
from dfc.report.reference_strip import STRIP_CSS
from dfc.report.words import verdict_means, whose

ICON = Path(__file__).parent / "icon.svg"
"""The wordmark's two circles, for the browser's tab."""

_SHEET = (Path(__file__).parent / "app.css").read_text(encoding="utf-8")

WORDMARK = """<div class="dfc-wordmark"><span class="dfc-mark"><i></i><i></i></span>
<span><b>dfc</b><small>model diffing</small></span></div>"""


def current_theme() -> Theme:
    """The theme the browser shows; light until it has said so."""
    return "dark" if st.context.theme.type == "dark" else "light"


def css(theme: Theme) -> str:
    """The style sheet of every page."""
    blend = "multiply" if theme == "light" else "screen"
    return f":root{{{css_variables(theme)}--dfc-blend:{blend};color-scheme:{theme}}}\n{HEATMAP_CSS}{STRIP_CSS}{_SHEET}"


def legend(names: dict[Side, str], places: dict[Side, str]) -> str:
    """Which colour stands for what, and where each model is read."""
    rows = [
        f'<div><i class="dfc-dot dfc-{side}"></i><span><b>{side.upper()}</b> {escape(names[side])}'
        f"<small>{places[side]}</small></span></div>"
        for side in names
    ]
    rows.append(f'<div><i class="dfc-dot dfc-shared"></i><span>{whose("shared", names)}</span></div>')
    return f'<div class="dfc-legend">{"".join(rows)}</div>'


def partition_badge(partition: Partition, names: dict[Side, str]) -> str:
    """Whose feature it is, as a coloured label."""
    return f'<span class="dfc-badge dfc-{partition}">{escape(whose(partition, names))}</span>'


def side_name(side: Side, names: dict[Side, str]) -> str:
    """A model's name in its colour."""
    return f'<span class="dfc-name dfc-{side}">{escape(names[side])}</span>'


def verdict_badge(verdict: Verdict, score: float, partition: Partition, theme: Theme, facts: Mapping[str, Any]) -> str:
    """A feature's verdict with its evidence score, as HTML; `facts` are of its run."""
    means = escape(verdict_means(verdict, facts, partition))
    return (
        f'<span class="dfc-verdict" title="{means}">{verdict_dot(verdict, theme)}'
        f"<b>{verdict}</b>&ensp;evidence score {score:.2f}</span>"
    )


def verdict_dot(verdict: Verdict, theme: Theme) -> str:
    """A square in a verdict's colour, as HTML."""
    return f'<i class="dfc-square" style="background:{verdict_marks(theme)[verdict]}"></i>'


def section(title: str, lead: str = "", eyebrow: str = "") -> None:
    """A heading with a line under it that says what follows; `lead` and `eyebrow` are HTML."""
    above = f'<div class="dfc-eyebrow">{eyebrow}</div>' if eyebrow else ""
    below = f"<p>{lead}</p>" if lead else ""
    st.html(f'<div class="dfc-section">{above}<h2>{escape(title)}</h2>{below}</div>')
