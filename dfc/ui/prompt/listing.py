"""What fires on a prompt, as tables: features of the text or of a span, and token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfc.config import SIDES, Partition, Side, Verdict
from dfc.report.heatmap import label, side_of
from dfc.report.palette import ramp
from dfc.report.words import percent
from dfc.store.reader import FeatureRow
from dfc.ui.prompt.token_strips import Span
from dfc.ui.shell import choice, feature_rows
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.readers import WHY
from dfc.ui.shell.text import number

if TYPE_CHECKING:
    from dfc.features.live import Reading

PAGE_ROWS = 25
EACH = 6
"""Features named for one token."""

ORDERS = {"share": "part of its strongest", "max": "activation", "density": "rarest first"}


@dataclass(frozen=True)
class Filters:
    """Which features are listed."""

    partitions: tuple[Partition, ...]
    verdict: Verdict | None

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """Those rows of a table with `partition` and `verdict` that pass."""
        chosen = table["partition"].isin(self.partitions)
        return table[chosen & (table["verdict"] == self.verdict)] if self.verdict else table[chosen]


def features(reading: Reading, table: pd.DataFrame, chosen: FeatureRow | None) -> None:
    """Features that fire, strongest first; a click on a row chooses one."""
    order = choice.one_of(
        "Order by",
        ORDERS,
        "by",
        help="The part of its strongest activation on the corpus makes features comparable; the activation itself is "
        "what the dictionary adds; rare features say more about a text than those that always fire.",
    )
    if table.empty:
        st.html('<p class="dfc-muted">No feature that passes the filters fires here.</p>')
        return
    table = table.sort_values([order, "max"], ascending=[order == "density", False]).head(feature_rows.MOST)
    tokens = [_token(reading, int(row), p) for row, p in zip(table["row"], table["partition"], strict=True)]
    feature_rows.show(
        table.assign(token=tokens, share=table["share"] * 100),
        chosen,
        ("feature_id", "mark", *feature_rows.NAMES, "token", "max", "share", "firings", "verdict", "density"),
    )


def tokens(reading: Reading, known: pd.DataFrame, filters: Filters, span: Span | None, view: View) -> None:
    """One pair a row, with the features that fire most on it."""
    section(
        "Token by token",
        "Each pair of tokens with the features that fire on it, strongest first, as a part of their strongest on the "
        "corpus. Pairs that do not count are pale.",
    )
    first, last = span or (0, reading.pairs - 1)
    pages = math.ceil((last - first + 1) / PAGE_ROWS)
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = pages
    place = st.empty()
    page = 1
    if pages > 1:
        with st.container(horizontal_alignment="center"):
            page = st.pagination(pages, key="page", bind="query-params")
    first += (page - 1) * PAGE_ROWS
    last = min(last, first + PAGE_ROWS - 1)
    place.html(_token_rows(reading, filters.of(known), first, last, view))


def _token_rows(reading: Reading, known: pd.DataFrame, first: int, last: int, view: View) -> str:
    tops = known.set_index("feature_id")
    mine = (reading.rows >= first) & (reading.rows <= last)
    fires = pd.DataFrame(
        {"row": reading.rows[mine], "feature_id": reading.features[mine], "value": reading.values[mine]}
    )
    fires = fires.join(tops[["corpus_max", "partition", "peak_tokens"]], on="feature_id", how="inner")
    fires["share"] = fires["value"] / fires["corpus_max"].where(fires["corpus_max"] > 0)
    fires = fires.sort_values(["row", "share"], ascending=[True, False])
    by_row: dict[int, list[str]] = {}
    entries: Any = fires.itertuples()
    for entry in entries:
        listed = by_row.setdefault(int(entry.row), [])
        if len(listed) < EACH:
            listed.append(_chip(entry))
    names = {side: view.name(side) for side in SIDES}
    head = "".join(f"<th>{side_name(side, names)}</th>" for side in SIDES)
    body = "".join(
        f"<tr{'' if reading.kept[row] else ' class=dfc-pale'}>"
        + "".join(f'<td class="dfc-cell">{_cell(reading, row, side)}</td>' for side in SIDES)
        + f"<td>{''.join(by_row.get(row, [])) or WHY[reading.why[row]]}</td></tr>"
        for row in range(first, last + 1)
    )
    return (
        f'<table class="dfc-table dfc-tokens"><thead><tr>{head}<th>fires, strongest first</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _chip(entry: Any) -> str:
    peaks = ", ".join(label(token[:24]) for token in entry.peak_tokens)
    word = label(entry.peak_tokens[0][:16]) if len(entry.peak_tokens) else ""
    return (
        f'<span class="dfc-chip dfc-{entry.partition}" title="Feature {entry.feature_id}, activation '
        f'{number(entry.value)}; on the corpus it peaks on {escape(peaks)}"><b>{entry.feature_id}</b> {escape(word)} '
        f"<small>{percent(entry.share, 2)}</small></span>"
    )


def _cell(reading: Reading, row: int, side: Side) -> str:
    return escape(label(reading.tokens[side][int(reading.index[side][row])]))


def key(view: View, partitions: list[Partition], feature: FeatureRow | None) -> str:
    """How to read the colours of the strips."""
    ramps = "".join(
        '<span class="dfc-ramp">'
        + "".join(f'<i style="background:{colour}"></i>' for colour in ramp(partition, view.theme))
        + "</span>"
        for partition in partitions
    )
    top = f"{number(feature.max)}, its strongest on the corpus" if feature else "as strong as it ever was on the corpus"
    return (
        f'<div class="dfc-key"><span>0</span>{ramps}<span>{top}</span>'
        "<span>· framed: the peak · grey: tokens that do not count; hover to see why</span></div>"
    )


def _token(reading: Reading, row: int, partition: Partition) -> str:
    side = side_of(partition)
    return label(reading.tokens[side][int(reading.index[side][row])])
