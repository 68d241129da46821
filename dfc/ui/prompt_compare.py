"""Two prompts beside each other: which features fire on one and not on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dfc.ui import prompt_parts, prompt_run, prompt_table
from dfc.ui.frame import View, model_names
from dfc.ui.prompt_table import MOST_LISTED, NAMES
from dfc.ui.style import section

if TYPE_CHECKING:
    from dfc.features.live import Reading

WHERE = ("only on the first", "only on the second", "on both", "on either")
MEASURES = {"max": "strongest", "mean": "average"}
COLUMNS = ("feature_id", "mark", *NAMES, "first", "second", "difference", "verdict", "density")


def show(view: View, readings: list[Reading]) -> None:
    """Draw both texts, and what tells them apart."""
    known = [prompt_run.described(view, prompt_run.fired(reading)) for reading in readings]
    with st.container(horizontal=True, gap="large"):
        filters = prompt_parts.filters(view)
    feature = prompt_parts.chosen_feature(view)
    legend = ""
    for place, column in enumerate(st.columns(2, gap="large")):
        with column:
            prompt_parts.notices(readings[place], model_names(view.config))
            legend = prompt_parts.strips(view, readings[place], known[place], filters, feature, f"strips_{place}", None)
    st.html(legend)
    if feature is not None:
        prompt_parts.about(view, feature, pd.concat(known))
    section("What tells them apart", "Features that fire on one text and not on the other. Click a row to see where.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        where = st.segmented_control("Fires", WHERE, default=WHERE[0], required=True, key="where", bind="query-params")
        measure = st.segmented_control(
            "Measured by",
            list(MEASURES),
            default="max",
            required=True,
            format_func=lambda name: MEASURES[name],
            key="measure",
            bind="query-params",
            help="Strongest: the largest activation on the text. Average: over all its pairs that count, silent ones "
            "included, so that texts of different length can be compared.",
        )
    table = filters.of(compared(known[0], known[1], measure))
    table = table[_fires(table, where)]
    if table.empty:
        st.html('<p class="dfc-muted">No feature that passes the filters fires there.</p>')
        return
    prompt_table.rows(table.head(MOST_LISTED), feature, COLUMNS)


def compared(first: pd.DataFrame, second: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Every feature that fires on either text, the largest difference first.

    Args:
        first, second: `prompt_run.described` of either.
        measure: `max` or `mean`, what is compared.

    Returns:
        What is known of each feature, and `first`, `second` and `difference`; 0 where it is silent.
    """
    facts = pd.concat([first, second]).drop_duplicates("feature_id").set_index("feature_id")
    for name, table in (("first", first), ("second", second)):
        facts[name] = table.set_index("feature_id")[measure].reindex(facts.index).fillna(0.0)
    facts["difference"] = facts["first"] - facts["second"]
    order = facts["difference"].abs().sort_values(ascending=False, kind="stable").index
    return facts.loc[order].reset_index()


def _fires(table: pd.DataFrame, where: str) -> pd.Series[bool]:
    first, second = table["first"] > 0, table["second"] > 0
    if where == WHERE[0]:
        return first & ~second
    if where == WHERE[1]:
        return second & ~first
    return first & second if where == WHERE[2] else first | second
