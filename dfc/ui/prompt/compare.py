"""Two prompts beside each other: which features fire on one and not on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd
import streamlit as st

from dfc.features.fired import fired
from dfc.ui.prompt import parts, reader
from dfc.ui.shell import choice, feature_rows
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import section

if TYPE_CHECKING:
    from dfc.features.live import Reading

Where = Literal["first", "second", "both", "either"]
WHERE: dict[Where, str] = {
    "first": "only on the first",
    "second": "only on the second",
    "both": "on both",
    "either": "on either",
}
MEASURES = {"max": "strongest", "mean": "average"}
COLUMNS = ("feature_id", "mark", *feature_rows.NAMES, "first", "second", "difference", "verdict", "density")


def show(view: View, readings: list[Reading]) -> None:
    """Draw both texts, and what tells them apart."""
    known = [reader.described(view, fired(reading)) for reading in readings]
    with st.container(horizontal=True, gap="large"):
        filters = parts.filters(view)
    feature = parts.chosen_feature(view)
    legend = ""
    for place, column in enumerate(st.columns(2, gap="large")):
        with column:
            parts.notices(readings[place], model_names(view.config))
            legend = parts.strips(view, readings[place], known[place], filters, feature, f"strips_{place}", None)
    st.html(legend)
    if feature is not None:
        parts.about(view, feature, pd.concat(known))
    section("What tells them apart", "Features that fire on one text and not on the other. Click a row to see where.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        where = choice.one_of("Fires", WHERE, "where")
        measure = choice.one_of(
            "Measured by",
            MEASURES,
            "measure",
            help="Strongest: the largest activation on the text. Average: over all its pairs that count, silent ones "
            "included, so that texts of different length can be compared.",
        )
    table = filters.of(compared(known[0], known[1], measure))
    table = table[_fires(table, where)]
    if table.empty:
        st.html('<p class="dfc-muted">No feature that passes the filters fires there.</p>')
        return
    feature_rows.show(table.head(feature_rows.MOST), feature, COLUMNS)


def compared(first: pd.DataFrame, second: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Every feature that fires on either text, the largest difference first.

    Args:
        first, second: `reader.described` of either.
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


def _fires(table: pd.DataFrame, where: Where) -> pd.Series[bool]:
    first, second = table["first"] > 0, table["second"] > 0
    if where == "first":
        return first & ~second
    if where == "second":
        return second & ~first
    return first & second if where == "both" else first | second
