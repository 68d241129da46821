"""A page of features as a table; a click on any cell opens the feature, or ticks it where many are to be chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dfc.config import Partition
from dfc.report.heatmap import label
from dfc.report.palette import THEMES
from dfc.report.words import numeral
from dfc.store import columns
from dfc.store.column import Column
from dfc.store.query import FeatureQuery
from dfc.ui.shell import address, data, notebook, selection
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import around

MOST_BARS = 16
_ROW, LINES, _LINES_BESIDE = 36, 64, 88
"""Heights of a row: of one line, and where what a search found is shown whole, in a column of its own or a narrow one;
from 64 pixels on the browser breaks lines."""
_MARKS = "★ for a favourite, and its tags."
_MATCH = "The words that were searched, in the strongest context that has them."
_HITS = (
    "Contexts that hold the words, of those that are kept of the feature; where none holds them as whole words, those "
    "that hold them within others."
)
_NEAR = "How near it comes in meaning to what is looked for: the cosine of their vectors, at most 1."
_TOWARD = "Nats a character by which the finding's model does better, beyond matched places."
JUDGED = ("verdict", "confidence")
NARROW = ("specificity", "histogram", "main_source", "density")
WIDE = ("specificity", "main_source", "histogram", "density", "max", "relative_norm", "norm_a", "norm_b")


def chosen(table: pd.DataFrame, alone: bool, order: str = "feature_id") -> tuple[str, ...]:
    """Columns for a page of features: what there is to say of them, and as much as there is room for.

    Args:
        table: rows of `Store.features`.
        alone: whether it has the page's width.
        order: what it is sorted by; a number of the evidence is shown then, beside another table in place of density.
    """
    judged = "verdict" in table and bool(table["verdict"].notna().any())
    called = "label" in table and bool(table["label"].ne("").any())
    names = ("label", "peak_tokens") if called and alone else ("label",) if called else ("peak_tokens",)
    if "likeness" in table:
        names = ("likeness", *names)
    if "match" in table:  # what a search found takes the room of figures beside it
        names = ("match", "hits", *names)
        if not alone:
            return ("feature_id", *names, *(JUDGED[:1] if judged else ()))
    evident = {one.name for one in columns.EVIDENCE if one.look == "number"}
    asked = (order,) if judged and order in evident else ()
    numbers = [one.name for one in columns.EVIDENCE if one.look == "number" and not one.asked]
    known = [name for name in numbers if judged and alone and table[name].notna().any()]  # shared: no mirror
    evidence = tuple(dict.fromkeys((*known, *asked)))
    left_out = {"specificity": judged, "density": bool(asked)}
    rest = WIDE if alone else tuple(name for name in NARROW if not left_out.get(name))
    return ("feature_id", *names, *(JUDGED if judged else ()), *evidence, *rest)


def searched(view: View, table: pd.DataFrame, query: FeatureQuery) -> pd.DataFrame:
    """The rows with what a search found in each.

    Returns:
        By meaning with `likeness`; by words with `match`, the words where they stand in the strongest context that has
        them, and `hits`, how many contexts have them.
    """
    ids = table["feature_id"]
    if query.near:
        table = table.assign(likeness=ids.map(view.store.likeness(query.near, ids.tolist())))
    if query.search:
        found = data.matches(view.store, query, ids.tolist()).set_index("feature_id")
        match = ids.map(found["text"].map(lambda text: around(text, query.search))).fillna("in its label")
        table = table.assign(match=match, hits=ids.map(found["hits"]).fillna(0).astype(int))
    return table


def in_words(row: Any) -> str:
    """What a search found in a row of `searched`, a named tuple; empty without one."""
    told = []
    if (likeness := getattr(row, "likeness", None)) is not None:
        told.append(f"nearness in meaning {numeral(likeness, '.2f')}")
    if (match := getattr(row, "match", None)) is not None:
        told.append(f"{match} ({row.hits} {'context' if row.hits == 1 else 'contexts'})" if row.hits else match)
    return " · ".join(told)


def show(
    view: View,
    table: pd.DataFrame,
    key: str,
    names: tuple[str, ...],
    place: Place | None = None,
    many: bool = False,
) -> None:
    """Draw the table; open the feature that is clicked, or keep the choice of those that are ticked.

    Args:
        view: the page.
        table: rows of `Store.features`.
        key: of the widget, unique on the page.
        names: of its columns, in order.
        place: the first row's, in the list that the table is a page of; the feature's page then goes on through it.
        many: whether rows are ticked, which `selection` keeps, rather than opened.
    """
    identities = [int(identity) for identity in table["feature_id"]]
    shown = _shown(view, table)
    marked = bool(shown["marks"].ne("").any())
    partition: Partition = table["partition"].iloc[0] if table["partition"].nunique() == 1 else "shared"
    order = [names[0], "marks", *names[1:]] if marked else list(names)
    shown = shown.drop(columns=[one.name for one in columns.columns() if one.look == "none"])  # no table draws these
    height = _ROW if "match" not in names else _LINES_BESIDE if "called" in names else LINES
    look: dict[str, Any] = {
        "hide_index": True,
        "column_order": order,
        "column_config": _config(view, partition, names, marked),
        "row_height": height,
        "height": min(height * len(table) + 38, 760),
        "on_select": "rerun",
    }
    if many:
        ticked = [row for row, identity in enumerate(identities) if identity in selection.chosen(view.run.name)]
        event: Any = st.dataframe(
            shown,
            key=f"{key}_{selection.round_number()}_{hash(tuple(identities))}",
            selection_mode="multi-row",
            selection_default={"selection": {"rows": ticked, "columns": [], "cells": []}},
            alt="Features, one a row; tick those that you want to mark",
            **look,
        )
        selection.take(view.run.name, identities, [identities[row] for row in event.selection.rows])
        return
    event = st.dataframe(
        shown, key=key, selection_mode="single-cell", alt="Features, one a row; click a row to open it", **look
    )
    cells = event.selection.cells if event else []
    if cells:
        row = int(cells[0][0])
        at = address.neighbour(place, row) if place else None
        st.switch_page(address.FEATURE_PAGE, query_params=address.feature_params(view.run.name, identities[row], at))


def peaks(column: pd.Series) -> pd.Series:
    """Peak tokens of features, a list each, as a table shows them: cut, with spaces and line ends to be seen."""
    return pd.Series([[label(token[:40]) for token in tokens] for tokens in column], column.index, object)


def _shown(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is drawn."""
    shown = table.copy()
    shown["peak_tokens"] = peaks(table["peak_tokens"])
    if "histogram" in table:
        shown["histogram"] = pd.Series(_miniatures(table["histogram"].tolist()), table.index)
    shown["density"] *= 100
    words: dict[int, list[str]] = {}
    for one in notebook.read(view.run.name).marks:
        if one.kind != "list":
            words.setdefault(one.feature_id, []).append(one.name if one.kind == "tag" else "★")
    shown["marks"] = [" ".join(words.get(identity, ())) for identity in table["feature_id"]]
    return shown


def _miniatures(histograms: list[Any]) -> list[list[float]]:
    """Bars of miniature histograms, comparable from row to row: those bins that any of the rows fills.

    A bar is the square root of its count, so that the strong tail is seen beside the weak mass; where the bars would
    be too thin, two bins or more make one.
    """
    counts = np.array([np.asarray(histogram, float) for histogram in histograms])
    filled = np.flatnonzero(counts.any(axis=0))
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, counts.shape[1] - 1)
    shown = counts[:, first : last + 1]
    together = -(-shown.shape[1] // MOST_BARS)
    bars: list[list[float]] = np.sqrt(np.add.reduceat(shown, range(0, shown.shape[1], together), axis=1)).tolist()
    return bars


def _config(view: View, partition: Partition, names: tuple[str, ...], marked: bool) -> dict[str, Any]:
    """How columns look; side by side they are narrow, and stars take their room from the label."""
    beside = "peak_tokens" not in names
    tight, wide = marked and beside, 120 if len(names) < 10 else 150
    called = 94 if tight or "match" in names else 130
    narrow = {"histogram": 60, "main_source": 108, "label": called} if beside else {}
    widths = {"label": wide, "peak_tokens": wide, "confidence": 74 if beside else 84} | narrow
    colour = THEMES[view.theme].hue(partition).mark
    config = st.column_config
    return {
        "marks": config.TextColumn("★", help=_MARKS, width=36 if tight else 48),
        "toward": config.NumberColumn("gap", help=_TOWARD, format="%.3f", width=64),
        "match": config.TextColumn("match", help=_MATCH, width=150 if beside else 320),
        "likeness": config.NumberColumn("near", help=_NEAR, format="%.2f", width=52),
        "hits": config.NumberColumn("hits", help=_HITS, format="%d", width=48),
        **{one.name: column_config(one, colour, widths.get(one.name)) for one in columns.columns()},
    }


def column_config(one: Column, colour: str, width: int | None = None) -> Any:
    """How a table shows a column.

    Args:
        one: as the store describes it.
        colour: of bars.
        width: in pixels; its own if none is given.
    """
    config, width = st.column_config, width or one.width
    match one.look:
        case "share":
            return config.ProgressColumn(
                one.title,
                help=one.meaning,
                width=width,
                format=one.format,
                min_value=0.0,
                max_value=1.0,
                color=colour,
            )
        case "bars":
            return config.BarChartColumn(one.title, help=one.meaning, width=width, y_min=0, color=colour)
        case "tokens":
            return config.ListColumn(one.title, help=one.meaning, width=width)
        case "text":
            return config.TextColumn(one.title, help=one.meaning, width=width)
        case _:
            pinned = True if one.name == "feature_id" else None
            return config.NumberColumn(one.title, help=one.meaning, format=one.format, width=width, pinned=pinned)
