"""What fires on a prompt, as tables: features of the text or of a span, and token by token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from dfc.config import SIDES, Partition, Side, Verdict
from dfc.report.heatmap import label, side_of
from dfc.report.palette import ramp
from dfc.store.reader import FeatureRow
from dfc.ui.feature_table import HELP
from dfc.ui.frame import View
from dfc.ui.style import section, side_name
from dfc.ui.text import number, percent
from dfc.ui.token_strips import Span

if TYPE_CHECKING:
    from dfc.features.live import Reading

MOST_LISTED = 200
PAGE_ROWS = 25
EACH = 6
"""Features named for one token."""

NAMES = ("label", "peak_tokens")
MARKS: dict[Partition, str] = {"a": "A", "b": "B", "shared": "both"}
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
    order = st.segmented_control(
        "Order by",
        list(ORDERS),
        default="share",
        required=True,
        format_func=lambda name: ORDERS[name],
        key="by",
        bind="query-params",
        help="The part of its strongest activation on the corpus makes features comparable; the activation itself is "
        "what the dictionary adds; rare features say more about a text than those that always fire.",
    )
    if table.empty:
        st.html('<p class="dfc-muted">No feature that passes the filters fires here.</p>')
        return
    table = table.sort_values([order, "max"], ascending=[order == "density", False]).head(MOST_LISTED)
    tokens = [_token(reading, int(row), p) for row, p in zip(table["row"], table["partition"], strict=True)]
    rows(
        table.assign(token=tokens, share=table["share"] * 100),
        chosen,
        ("feature_id", "mark", *NAMES, "token", "max", "share", "firings", "verdict", "density"),
    )


def rows(table: pd.DataFrame, chosen: FeatureRow | None, columns: tuple[str, ...]) -> None:
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
    st.session_state["prompt_ids"] = ids
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
    found: Any = fires.itertuples()
    for entry in found:
        listed = by_row.setdefault(int(entry.row), [])
        if len(listed) < EACH:
            listed.append(_chip(entry))
    names = {side: view.name(side) for side in SIDES}
    head = "".join(f"<th>{side_name(side, names)}</th>" for side in SIDES)
    body = "".join(
        f"<tr{'' if reading.kept[row] else ' class=dfc-pale'}>"
        + "".join(f'<td class="dfc-cell">{_cell(reading, row, side)}</td>' for side in SIDES)
        + f"<td>{''.join(by_row.get(row, [])) or ('' if reading.kept[row] else 'does not count')}</td></tr>"
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
        "<span>· framed: the peak · grey: tokens that do not count</span></div>"
    )


def _token(reading: Reading, row: int, partition: Partition) -> str:
    side = side_of(partition)
    return label(reading.tokens[side][int(reading.index[side][row])])


def _choose(widget: str) -> None:
    chosen = st.session_state[widget].selection.rows
    if chosen:
        st.query_params["feature"] = str(st.session_state["prompt_ids"][chosen[0]])
    else:
        st.query_params.pop("feature", None)


def _config() -> dict[str, Any]:
    column = st.column_config
    return {
        "feature_id": column.NumberColumn("feature", help=HELP["feature_id"], format="%d", width=64, pinned=True),
        "mark": column.TextColumn("in", help="Which model may use it.", width=46),
        "label": column.TextColumn("label", help=HELP["label"], width=150),
        "peak_tokens": column.ListColumn("peaks on", help=HELP["peak_tokens"], width=140),
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
        "density": column.NumberColumn("density %", help=HELP["density"], format="%.3f", width=76),
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
