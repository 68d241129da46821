"""A table of features in which a click on a row chooses one, which then stands in the address."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import pandas as pd
import streamlit as st

from dfc.config import Partition
from dfc.report.heatmap import label
from dfc.store import columns
from dfc.store.reader import FeatureRow

MOST = 200
"""Rows of one table."""
NAMES = ("label", "peak_tokens")
_LISTED = "listed_features"
MARKS: dict[Partition, str] = {"a": "A", "b": "B", "shared": "both"}


def show(table: pd.DataFrame, chosen: FeatureRow | None, columns: tuple[str, ...]) -> None:
    """A table of features in which a click on a row chooses one; the choice is written into the address.

    Args:
        table: what is known of each feature: partition, density, label and peak_tokens, and what `columns` say further.
        chosen: the feature that is chosen.
        columns: which are shown, in order.
    """
    shown = table.assign(
        mark=[MARKS[partition] for partition in table["partition"]],
        peak_tokens=pd.Series(
            [[label(token[:40]) for token in listed] for listed in table["peak_tokens"]], table.index
        ),
        density=table["density"] * 100,
    )
    ids = shown["feature_id"].tolist()
    if not shown["label"].any():
        columns = tuple(name for name in columns if name != "label")
    # Another content is another widget: a selection that stayed would mean another feature.
    key = "rows_" + blake2b(f"{columns} {ids}".encode(), digest_size=8).hexdigest()
    st.session_state[_LISTED] = ids
    st.dataframe(
        shown,
        hide_index=True,
        column_order=columns,
        column_config=_config(),
        key=key,
        on_select=lambda: _choose(key),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [ids.index(chosen.feature_id)]}}
        if chosen and chosen.feature_id in ids
        else None,
        row_height=36,
        height=min(36 * len(shown) + 38, 560),
        alt="Features that fire, one a row; click a row to see where",
    )


def _choose(widget: str) -> None:
    chosen = st.session_state[widget].selection.rows
    if chosen:
        st.query_params["feature"] = str(st.session_state[_LISTED][chosen[0]])
    else:
        st.query_params.pop("feature", None)


def _config() -> dict[str, Any]:
    column = st.column_config
    return {
        "feature_id": column.NumberColumn(
            "feature", help=columns.meaning("feature_id"), format="%d", width=64, pinned=True
        ),
        "mark": column.TextColumn("in", help="Which model may use it.", width=46),
        "label": column.TextColumn("label", help=columns.meaning("label"), width=150),
        "peak_tokens": column.ListColumn("peaks on", help=columns.meaning("peak_tokens"), width=140),
        "token": column.TextColumn("here on", help="The token of this text on which it is strongest.", width=86),
        "max": column.NumberColumn("here", help="Its strongest activation here.", format="%.2f", width=58),
        "share": column.ProgressColumn(
            "of its strongest",
            help="Its strongest activation here, as a part of its strongest on the corpus.",
            format="%.0f %%",
            min_value=0,
            max_value=100,
            width=104,
        ),
        "firings": column.NumberColumn("pairs", help="On how many pairs of it it fires.", width=54),
        "verdict": column.TextColumn("verdict", help="What the evidence says of it; empty before `verify`.", width=84),
        "density": column.NumberColumn("density %", help=columns.meaning("density"), format="%.3f", width=76),
        "recurs": column.NumberColumn("recurs in", help="In how many of the other runs it has a match.", width=72),
        "again": column.NumberColumn(
            "exclusive again", help="In how many of them the match is called exclusive, too.", width=104
        ),
        "correlation": column.NumberColumn(
            "correlation", help="Of its activations with the best of its matches, over the same pairs.", format="%.2f"
        ),
        "first": column.NumberColumn("first", help="On the first text.", format="%.2f", width=66),
        "second": column.NumberColumn("second", help="On the second text.", format="%.2f", width=66),
        "difference": column.NumberColumn("first − second", format="%+.2f", width=96),
    }
