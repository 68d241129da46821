"""A page of features as a table; a click on any cell opens the feature."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from dfc.config import Partition
from dfc.report.heatmap import label
from dfc.report.palette import THEMES
from dfc.store.reader import FeatureQuery
from dfc.ui import address
from dfc.ui.address import Place
from dfc.ui.frame import View

HELP = {
    "feature_id": "Its number in the dictionary. Click a row to open it.",
    "peak_tokens": "The commonest tokens on which its strongest contexts peak.",
    "histogram": "How strongly it fires where it fires: weak on the left, strong on the right.",
    "main_source": "The source on whose tokens it fires most often.",
    "specificity": "How much it keeps to its main source: that source's share of its firing rates. "
    "1 is that source alone, 1 / number of sources is evenly everywhere.",
    "density": "Share of all token pairs on which it fires, in percent.",
    "max": "Its strongest activation on the corpus.",
    "mean": "Its average activation where it fires.",
    "norm_a": "Length of its decoder vector in model A; 0 where it has none.",
    "norm_b": "Length of its decoder vector in model B; 0 where it has none.",
    "partition": "Which model may use it: a, b, or both (shared).",
    "relative_norm": "‖d_A‖ / (‖d_A‖ + ‖d_B‖): 1 only in A, 0 only in B.",
}
NARROW = ("feature_id", "peak_tokens", "specificity", "main_source", "histogram", "density")
WIDE = (*NARROW, "max", "mean", "norm_a", "norm_b")


def show(
    view: View,
    table: pd.DataFrame,
    key: str,
    columns: tuple[str, ...],
    query: FeatureQuery | None = None,
    beside: bool = False,
) -> None:
    """Draw the table and open the feature that is clicked.

    Args:
        view: the page.
        table: rows of `Store.features`.
        key: of the widget, unique on the page.
        columns: which columns, in order.
        query: what the table is a page of; the feature's page then goes on through that list.
        beside: whether it stands beside the table of the other model.
    """
    shown = table.copy()
    shown["peak_tokens"] = pd.Series(
        [[label(token[:40]) for token in tokens] for tokens in table["peak_tokens"]], table.index
    )
    if "histogram" in table:
        shown["histogram"] = pd.Series([_heights(counts) for counts in table["histogram"]], table.index)
    shown["density"] *= 100
    partition: Partition = table["partition"].iloc[0] if table["partition"].nunique() == 1 else "shared"
    event: Any = st.dataframe(
        shown,
        hide_index=True,
        column_order=columns,
        column_config=_config(view, partition, 132 if columns == NARROW else 190),
        key=key,
        on_select="rerun",
        selection_mode="single-cell",
        row_height=36,
        height=min(36 * len(table) + 38, 760),
        alt="Features, one a row; click a row to open it",
    )
    cells = event.selection.cells if event else []
    if cells:
        row = int(cells[0][0])
        place = Place(query, query.offset + row, beside) if query else None
        identity = int(table["feature_id"].iloc[row])
        st.switch_page(address.FEATURE_PAGE, query_params=address.feature_params(view.run.name, identity, place))


def _heights(counts: Any) -> list[float]:
    """Bars of a miniature histogram, comparable from row to row.

    Two bins make a bar, and a bar is the square root of its count, so that the strong tail is
    seen beside the weak mass.
    """
    values = [int(value) for value in counts]
    return [sum(values[place : place + 2]) ** 0.5 for place in range(0, len(values), 2)]


def _config(view: View, partition: Partition, width: int) -> dict[str, Any]:
    column = st.column_config
    return {
        "feature_id": column.NumberColumn("feature", help=HELP["feature_id"], format="%d", width=60, pinned=True),
        "peak_tokens": column.ListColumn("peaks on", help=HELP["peak_tokens"], width=width),
        "histogram": column.BarChartColumn(
            "strength", help=HELP["histogram"], width=86, y_min=0, color=THEMES[view.theme].hue(partition).mark
        ),
        "main_source": column.TextColumn("main source", help=HELP["main_source"], width=88),
        "specificity": column.NumberColumn("specific", help=HELP["specificity"], format="%.2f", width=66),
        "density": column.NumberColumn("density %", help=HELP["density"], format="%.4f", width=82),
        "max": column.NumberColumn("max", help=HELP["max"], format="%.2f", width=64),
        "mean": column.NumberColumn("mean", help=HELP["mean"], format="%.2f", width=64),
        "norm_a": column.NumberColumn("‖d_A‖", help=HELP["norm_a"], format="%.2f", width=64),
        "norm_b": column.NumberColumn("‖d_B‖", help=HELP["norm_b"], format="%.2f", width=64),
        "partition": column.TextColumn("partition", help=HELP["partition"], width=80),
        "relative_norm": column.NumberColumn("relative", help=HELP["relative_norm"], format="%.2f", width=72),
    }
