"""Kinds of text that one model expects better as a whole: by source, by speaker, by script."""

from __future__ import annotations

import math
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from dfc.config import SIDES, Side
from dfc.report import kinds
from dfc.report.findings import UNIT
from dfc.ui.shell import address
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.text import plain

SHOWN = 12
"""Rows of a trait that are in sight at first."""
_LEAST = 0.1  # nats a character that half a bar stands for at least: what is little looks it
_TITLES = {"source": "By source", "role": "By who speaks", "script": "By script"}
_ROLES = {"text": "text (no chat)"}
_PARAMETERS = {"source": "fires_on", "role": "role"}
"""Filters of the table of features that show what fires on it."""
_NOWHERE = f"No kind of text differs by {kinds.SURE:g} standard errors: neither model clearly expects one better."


def show(view: View, names: dict[Side, str]) -> None:
    """Draw the section; nothing where the texts were not measured."""
    table = view.store.texts()
    if table.empty:
        return
    section(
        "Kinds of text that one model expects better",
        f"By how many {UNIT} all texts of a kind surprise one model more than the other. "
        "Findings are beyond this: they compare within a source, a writing, a speaker and a kind of token.",
    )
    st.html(_key(names))
    if not kinds.sure(table).any():
        st.info(_NOWHERE, icon=":material/balance:")
    longest = max(_LEAST, float((table["gap"].abs() + table["error"].fillna(0)).max()))
    traits = [trait for trait in _TITLES if (table["trait"] == trait).any()]
    for trait in traits:
        _trait(view, trait, table[table["trait"] == trait], longest)


def _key(names: dict[Side, str]) -> str:
    b, a = side_name("b", names), side_name("a", names)
    return (
        f'<div class="dfc-small">To the left {b} expects them better, to the right {a}; grey: less than {kinds.SURE:g} '
        "standard errors from no difference. Thin line: one standard error to either side.</div>"
    )


def _trait(view: View, trait: str, table: pd.DataFrame, longest: float) -> None:
    st.markdown(f"**{_TITLES[trait]}**")
    ordered = table.assign(sure=kinds.sure(table)).sort_values("gap", key=lambda gap: -gap.abs(), kind="stable")
    listed = st.container(gap=None, key=f"texts_{trait}")
    rest = ordered.iloc[SHOWN:]
    if len(rest):
        words = f"all {len(ordered)}; the others differ by at most {rest['gap'].abs().max():.3f}"
        everything = st.toggle(words, key=f"all_{trait}", bind="query-params")
        ordered = ordered if everything else ordered.head(SHOWN)
    rows: Any = ordered.itertuples()
    with listed:
        for row in rows:
            name, drawing = st.columns([2, 5], vertical_alignment="center", gap="small")
            with name:
                _name(view, trait, row.name)
            drawing.html(_bar(row, longest))


def _name(view: View, trait: str, name: str) -> None:
    """What it is called, with a link to the features that fire more often on it where these can be listed."""
    shown = _ROLES.get(name, name) if trait == "role" else name
    if trait not in _PARAMETERS:
        st.html(f'<div class="dfc-word">{escape(shown)}</div>')
        return
    st.page_link(
        address.TABLE_PAGE,
        label=plain(shown),
        icon=":material/arrow_outward:",
        icon_position="right",
        query_params={"run": view.run.name, _PARAMETERS[trait]: name},
        help="Exclusive features that fire more often on it than on the whole corpus.",
    )


def _bar(row: Any, longest: float) -> str:
    """The gap as a bar from the middle, to the right in favour of A."""
    gap, error = float(row.gap), float(row.error) if math.isfinite(row.error) else 0.0
    side = SIDES[0] if gap > 0 else SIDES[1]
    left, right = (50 + 50 * value / longest for value in sorted((0.0, gap)))
    low, high = (50 + 50 * max(-1.0, min(1.0, value / longest)) for value in (gap - error, gap + error))
    whose = f"{side.upper()} " if gap else ""
    told = f"{whose}{abs(gap):.3f}" + (f" ± {error:.3f}" if math.isfinite(row.error) else "")
    return (
        f'<div class="dfc-gap dfc-both dfc-{side if row.sure else "shared"}"><span class="dfc-bar">'
        f'<i style="left:{left:.1f}%;width:{right - left:.1f}%"></i>'
        f'<b style="left:{low:.1f}%;width:{high - low:.1f}%"></b><u></u></span>'
        f"<span>{told}<small> · {int(row.documents):,} documents</small></span></div>"
    )
