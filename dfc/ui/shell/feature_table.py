"""A page of features as a table; a click on any cell opens the feature, or ticks it where many are to be chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from dfc.config import Partition
from dfc.report.heatmap import label
from dfc.report.palette import THEMES
from dfc.store.reader import Order
from dfc.ui.shell import address, meaning, notebook, selection
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import called

MOST_BARS = 16
JUDGED = ("verdict", "confidence")
NARROW = ("specificity", "histogram", "main_source", "density")
WIDE = ("specificity", "main_source", "histogram", "density", "max", "relative_norm", "norm_a", "norm_b")
EVIDENCE = ("surprise_gap", "probe_ratio", "mirror_correlation")


def columns(table: pd.DataFrame, alone: bool, order: Order = "feature_id") -> tuple[str, ...]:
    """Columns for a page of features: what there is to say of them, and as much as there is room for.

    Args:
        table: rows of `Store.features`.
        alone: whether it has the page's width.
        order: what it is sorted by; a number of the evidence is shown then, beside another table in place of density.
    """
    judged = "verdict" in table and bool(table["verdict"].notna().any())
    called = "label" in table and bool(table["label"].ne("").any())
    names = ("label", "peak_tokens") if called and alone else ("called",) if called else ("peak_tokens",)
    asked = (order,) if judged and order in (*EVIDENCE, "own_r2") else ()
    known = [name for name in EVIDENCE if judged and alone and table[name].notna().any()]  # shared: no mirror
    evidence = tuple(dict.fromkeys((*known, *asked)))
    left_out = {"specificity": judged, "density": bool(asked)}
    rest = WIDE if alone else tuple(name for name in NARROW if not left_out.get(name))
    return ("feature_id", *names, *(JUDGED if judged else ()), *evidence, *rest)


def show(
    view: View,
    table: pd.DataFrame,
    key: str,
    columns: tuple[str, ...],
    place: Place | None = None,
    many: bool = False,
) -> None:
    """Draw the table; open the feature that is clicked, or keep the choice of those that are ticked.

    Args:
        view: the page.
        table: rows of `Store.features`.
        key: of the widget, unique on the page.
        columns: which columns, in order.
        place: the first row's, in the list that the table is a page of; the feature's page then goes on through it.
        many: whether rows are ticked, which `selection` keeps, rather than opened.
    """
    identities = [int(identity) for identity in table["feature_id"]]
    shown = _shown(view, table)
    marked = bool(shown["marks"].ne("").any())
    partition: Partition = table["partition"].iloc[0] if table["partition"].nunique() == 1 else "shared"
    look: dict[str, Any] = {
        "hide_index": True,
        "column_order": (columns[0], "marks", *columns[1:]) if marked else columns,
        "column_config": _config(view, partition, columns, marked),
        "row_height": 36,
        "height": min(36 * len(table) + 38, 760),
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
    shown["called"] = [called(*of) for of in zip(table["label"], table["peak_tokens"], strict=True)]
    if "histogram" in table:
        shown["histogram"] = pd.Series(_miniatures(table["histogram"].tolist()), table.index)
    shown["density"] *= 100
    marks = notebook.marks(view.run.name)
    marks = marks[marks["feature_id"].isin(table["feature_id"]) & marks["kind"].isin(["favourite", "tag"])]
    words = marks["name"].where(marks["kind"] == "tag", "★").groupby(marks["feature_id"]).agg(" ".join).to_dict()
    shown["marks"] = [words.get(identity, "") for identity in table["feature_id"]]
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


def _config(view: View, partition: Partition, columns: tuple[str, ...], marked: bool) -> dict[str, Any]:
    """How columns look; side by side they are narrow, and stars take their room from the label."""
    column = st.column_config
    width, beside = 120 if len(columns) < 10 else 150, "called" in columns
    tight = marked and beside
    return {
        "feature_id": column.NumberColumn(
            "feature", help=meaning.FEATURE["feature_id"], format="%d", width=60, pinned=True
        ),
        "marks": column.TextColumn("★", help=meaning.FEATURE["marks"], width=36 if tight else 48),
        "label": column.TextColumn("label", help=meaning.FEATURE["label"], width=width),
        "called": column.TextColumn("label or peaks", help=meaning.FEATURE["called"], width=94 if tight else 130),
        "verdict": column.TextColumn("verdict", help=meaning.FEATURE["verdict"], width=78),
        "confidence": column.ProgressColumn(
            "confidence",
            help=meaning.FEATURE["confidence"],
            format="%.2f",
            min_value=0.0,
            max_value=1.0,
            width=74 if beside else 84,
            color=THEMES[view.theme].hue(partition).mark,
        ),
        "surprise_gap": column.NumberColumn("knows", help=meaning.FEATURE["surprise_gap"], format="%.2f", width=70),
        "own_r2": column.NumberColumn("own R²", help=meaning.FEATURE["own_r2"], format="%.2f", width=70),
        "probe_ratio": column.NumberColumn("other / own", help=meaning.FEATURE["probe_ratio"], format="%.2f", width=82),
        "mirror_correlation": column.NumberColumn(
            "mirror", help=meaning.FEATURE["mirror_correlation"], format="%.2f", width=64
        ),
        "peak_tokens": column.ListColumn("peaks on", help=meaning.FEATURE["peak_tokens"], width=width),
        "histogram": column.BarChartColumn(
            "strength",
            help=meaning.FEATURE["histogram"],
            width=60 if beside else 74,
            y_min=0,
            color=THEMES[view.theme].hue(partition).mark,
        ),
        "main_source": column.TextColumn(
            "main source", help=meaning.FEATURE["main_source"], width=108 if beside else 116
        ),
        "specificity": column.NumberColumn("specific", help=meaning.FEATURE["specificity"], format="%.2f", width=66),
        "density": column.NumberColumn("density %", help=meaning.FEATURE["density"], format="%.4f", width=82),
        "max": column.NumberColumn("max", help=meaning.FEATURE["max"], format="%.2f", width=64),
        "mean": column.NumberColumn("mean", help=meaning.FEATURE["mean"], format="%.2f", width=64),
        "norm_a": column.NumberColumn("‖d_A‖", help=meaning.FEATURE["norm_a"], format="%.2f", width=64),
        "norm_b": column.NumberColumn("‖d_B‖", help=meaning.FEATURE["norm_b"], format="%.2f", width=64),
        "partition": column.TextColumn("partition", help=meaning.FEATURE["partition"], width=80),
        "relative_norm": column.NumberColumn(
            "relative", help=meaning.FEATURE["relative_norm"], format="%.2f", width=72
        ),
    }
