"""What a contrast found, both models side by side."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report import tables
from dfc.report.heatmap import called
from dfc.screen import told
from dfc.screen.reading import RATE, Contrasted
from dfc.screen.told import Toward
from dfc.ui.shell import choice, downloads, links
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.text import plain

FEW = 6
"""Rows of a list; the table that is downloaded has all."""


def show(view: View, found: Contrasted) -> None:
    """Draw what tells the sets apart."""
    first, second = (one.name for one in found.sets)
    towards: dict[Toward, str] = {"either": "either", "first": plain(first), "second": plain(second)}
    toward = choice.one_of(
        "Fires more on",
        towards,
        "toward",
        help="Bars begin at ½, where a feature tells nothing, and reach to the right where it fires more on the first "
        "set, to the left where on the second; the thin line is the interval of 95 %.",
    )
    result = told.plain(view.store, found, RATE, FEW, toward)
    sets = "<br>".join(escape(told.set_in_words(one)) for one in result["sets"])
    st.html(f'<p class="dfc-small">{sets}</p>')
    length = told.length_in_words(result)
    if told.lengths_differ(result):
        st.warning(plain(length), icon=":material/straighten:")
    else:
        st.html(f'<p class="dfc-small">{escape(length)}</p>')
    lists = {(one["of"], one.get("side") or one["partition"]): one for one in result["lists"]}
    section("Findings", "Where the model does better than in like texts; each by its best feature.")
    _beside(view, result, {side: lists["findings", side] for side in SIDES})
    section("Features that one model alone may use", "By the dictionary's design, which is no evidence.")
    _beside(view, result, {side: lists["features", side] for side in SIDES})
    section("Features that both may use", escape(told.list_in_words(lists["features", "shared"], result)))
    _rows(view, result, lists["features", "shared"])
    st.caption(plain(told.rule_in_words(result)))
    name = view.run.name
    downloads.button(
        "CSV of all that were tested",
        lambda: tables.csv(found.features),
        f"{name}-contrast.csv",
        "text/csv",
        icon=":material/download:",
        key="contrast_csv",
    )


def _beside(view: View, result: Mapping[str, Any], lists: Mapping[Side, Mapping[str, Any]]) -> None:
    """Lists of both models, A's on the left."""
    names = model_names(view.config)
    for column, (side, listed) in zip(st.columns(2, gap="large"), lists.items(), strict=True):
        with column:
            counted = f"{listed['passing']:,} of {listed['tested']:,} that were tested pass"
            st.html(f'<h3 class="dfc-side">{side_name(side, names)}</h3><div class="dfc-small">{counted}</div>')
            _rows(view, result, listed)


def _rows(view: View, result: Mapping[str, Any], listed: Mapping[str, Any]) -> None:
    """The features of a list that pass, those first that are furthest apart."""
    passing = [row for row in listed["rows"] if row["passes"]]
    if not passing:
        words = "None passes." if listed["tested"] else "None fires on enough of these prompts to be tested."
        st.html(f'<p class="dfc-muted">{words}</p>')
    for row in passing:
        identity = row["feature_id"]
        with st.container(key=f"finding_apart_{listed['of']}_{identity}"):
            title = plain(called(row["label"]))
            links.feature(view.run.name, identity, f"{identity}\u2002**{title}**")
            st.html(_about(row, result))


def _about(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """The AUROC as a bar from ½ with its interval, on how many prompts it fires, and where it is strongest."""
    low, at, high = (100 * row[name] for name in ("low", "auroc", "high"))
    fires = ", ".join(
        f"on {count:,} of {one['prompts']:,} ({escape(one['name'])})"
        for count, one in zip(row["fires_on"], result["sets"], strict=True)
    )
    finding = f" · finding {escape(row['finding_rank'])}" if row["finding_rank"] else ""
    example = row["example"]
    quote = f'<div class="dfc-text"><b>{escape(example["set"])}</b> {escape(example["text"])}</div>'
    meaning = escape(told.rule_in_words(result))
    return (
        f'<div class="dfc-gap dfc-{row["partition"]}" title="{meaning}"><span class="dfc-bar"><u></u>'
        f'<i style="left:{min(50, at):.1f}%;width:{abs(at - 50):.1f}%"></i>'
        f'<b style="left:{low:.1f}%;width:{high - low:.1f}%"></b></span>'
        f"<span>{row['auroc']:.2f} <small>({row['low']:.2f} to {row['high']:.2f})</small></span></div>"
        f'<div class="dfc-small">fires {fires} · q {row["false_discovery"]:.1e}{finding}</div>'
        + (quote if example["text"] else "")
    )
