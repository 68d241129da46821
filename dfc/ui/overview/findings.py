"""The best findings of each model on the front page, beside each other."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, SIDES, Side, opposite
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
    with st.container(key="front"):
        section(
            "Where one model does better",
            f"By so many {findings.UNIT} better than in like texts, beside the other model; the surest, by the source "
            "that they are densest on.",
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


def _heading(source: str, shown: int, of_source: int, everything: int) -> str:
    """A source, and how many of the findings are densest on it."""
    here = f"{of_source:,} of all {everything:,}" + (f", the first {shown} here" if shown < of_source else "")
    return f'<div class="dfc-small dfc-theme"><b>{escape(source)}</b> · {here}</div>'


def _of_one(view: View, side: Side, found: tuple[Finding, ...], names: dict[Side, str]) -> None:
    own = tuple(one for one in found if one.side == side)
    behind = findings.behind(own, names[opposite(side)])
    st.html(
        f'<h3 class="dfc-side">{side_name(side, names)}</h3>'
        f'<div class="dfc-small">{escape("; ".join(filter(None, [findings.counts(own), behind])))}</div>'
    )
    if not own:
        return
    query = FeatureQuery(partitions=PARTITIONS, found=side, order="finding", descending=False, limit=FIRST)
    table = data.features(view.store, query)
    contexts = view.store.strongest_contexts([int(identity) for identity in table["feature_id"]])
    rows: Any = table.itertuples()
    by_feature = {int(row.feature_id): (place, row) for place, row in enumerate(rows)}
    first = [one for one in own if one.feature_id in by_feature]
    of_source, longest = Counter(one.main_source for one in own), finding_rows.scale(found)
    with st.container(gap=None, key=f"first_{side}"):  # so that all of them are in sight
        for source, group in findings.by_source(first):
            st.html(_heading(source, len(group), of_source[source], len(own)))
            for one in group:
                position, row = by_feature[one.feature_id]
                with st.container(key=f"finding_{one.finding}", gap=None):
                    place = Place(query, position, True)
                    finding_rows.brief(view, one, row, contexts.get(one.feature_id), place, longest)
    st.page_link(
        address.FINDINGS_PAGE,
        label=f"All {len(own):,} with filters" if len(own) > FIRST else "With filters and more of each",
        icon=":material/arrow_forward:",
        icon_position="right",
        query_params={"run": view.run.name, "whose": side},
    )
