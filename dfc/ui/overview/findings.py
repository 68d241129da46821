"""The best findings of each model on the front page, beside each other."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, SIDES, Side
from dfc.report import findings, kinds
from dfc.report.findings import Finding
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import address, data, finding_rows
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import section, side_name

FIRST = 10


def show(view: View, names: dict[Side, str]) -> bool:
    """Draw the section, and say whether there are findings; where there are none, say why."""
    found = data.findings(view.store)
    if not found:
        _none(view)
        return False
    section(
        "Where one model does better",
        f"Beside the other one, it does better here than in like texts, by so many {findings.UNIT}; the surest first.",
    )
    for column, side in zip(st.columns(2, gap="large"), SIDES, strict=True):
        with column:
            _of_one(view, side, found, names)
    st.space("small")
    return True


def _none(view: View) -> None:
    """Why there are none, and where else to look."""
    st.caption(findings.lacking(data.facts(view.store), data.tested(view.store), view.run.name))
    texts = view.store.texts()
    if not texts.empty:
        differ = "Which kinds of text one model expects better as a whole"
        st.page_link(
            address.FINDINGS_PAGE,
            label=differ if kinds.sure(texts).any() else "No kind of text is clearly expected better by one model",
            icon=":material/arrow_forward:",
            icon_position="right",
            query_params={"run": view.run.name},
        )


def _of_one(view: View, side: Side, found: tuple[Finding, ...], names: dict[Side, str]) -> None:
    own = tuple(one for one in found if one.side == side)
    st.html(
        f'<h3 class="dfc-side">{side_name(side, names)}</h3><div class="dfc-small">{escape(findings.counts(own))}</div>'
    )
    if not own:
        return
    query = FeatureQuery(partitions=PARTITIONS, found=side, order="finding", descending=False, limit=FIRST)
    table = data.features(view.store, query)
    by_feature = {one.feature_id: one for one in own}
    contexts = view.store.strongest_contexts([int(identity) for identity in table["feature_id"]])
    rows: Any = table.itertuples()
    with st.container(gap=None):  # so that the first five are in sight
        for position, row in enumerate(rows):
            finding = by_feature[int(row.feature_id)]
            with st.container(key=f"finding_{finding.finding}"):
                context, longest = contexts.get(finding.feature_id), finding_rows.scale(found)
                finding_rows.row(view, finding, row, context, Place(query, position, True), longest, "compact")
    st.page_link(
        address.FINDINGS_PAGE,
        label=f"All {len(own):,} with filters" if len(own) > FIRST else "With filters and more of each",
        icon=":material/arrow_forward:",
        icon_position="right",
        query_params={"run": view.run.name, "whose": side},
    )
