"""The findings of a run: of each model where it does better, the surest first, with filters as above the features."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import Any, Literal

import streamlit as st

from dfc.config import PARTITIONS, SIDES, Partition, Side, opposite
from dfc.report import findings, tables
from dfc.report.findings import Finding
from dfc.store.reader import FeatureQuery
from dfc.ui.findings import group, texts, themes
from dfc.ui.shell import (
    address,
    choice,
    data,
    downloads,
    empty,
    feature_filters,
    feature_table,
    finding_rows,
    list_address,
    list_tools,
    notebook,
    paging,
    selection,
)
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.list_address import Claim
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import plain

_CLAIMS: dict[Claim, str] = {"any": "any partition", "only": "dedicated", "shared": "shared"}
"""Whether only the model that does better may use the best feature, or both."""
_TITLES = {"both": "side by side", "a": "of A", "b": "of B"}
_VIEWS: dict[Literal["list", "themes"], str] = {"list": "list", "themes": "themes"}
_VIEWS_HELP = "The surest first, with filters; or both models' findings by what they are about."
_LEAD = (
    "Where one model does better beside the other than in texts that are like these, the surest first: it knows "
    "something here, or lacks less. A finding is one feature, its best, and all those that show nothing beyond it. "
    "Whether both models may use it or only one does not decide."
)


def show(view: View) -> None:
    """Draw the page."""
    names, found = model_names(view.config), data.findings(view.store)
    st.html(f'<div class="dfc-hero"><h1>Findings</h1><p>{_LEAD}</p></div>')
    notebook.opened()
    if (place := address.place()) is not None:  # as the page of features does, for the same reason
        st.switch_page(address.FINDINGS_PAGE, query_params=list_address.findings(view, place))
    facts, tested = data.facts(view.store), data.tested(view.store)
    if found:
        if choice.one_of("Show as", _VIEWS, "view", label="collapsed", help=_VIEWS_HELP) == "themes":
            themes.show(view, found, names)
        else:
            _list(view, found, names)
        st.caption(_rule(findings.settings(facts, tested)))
    else:
        st.info(findings.lacking(facts, tested, view.run.name), icon=":material/lightbulb:")
        empty.verifying(view.run)
    texts.show(view, names)


def _list(view: View, found: tuple[Finding, ...], names: dict[Side, str]) -> None:
    chosen = feature_filters.draw(view, _TITLES, list_address.FIRST, feature_filters.FINDINGS)
    with chosen.tools:
        claim = choice.one_of("Best feature", _CLAIMS, "claim", label="collapsed", on_change=paging.first)
        feature_filters.offer_to_clear(chosen, {"claim": "any"})
    sides = SIDES if chosen.show == "both" else tuple(side for side in SIDES if side == chosen.show)
    queries = [replace(chosen.query, found=side, partitions=_partitions(claim, side)) for side in sides]
    narrowed = [list_address.narrowed(view, query, chosen.kept) for query in queries]
    totals = [data.count(view.store, query) for query in narrowed]
    if chosen.query.search and not any(totals):
        list_tools.not_found(view, chosen.query.search, "best feature of a finding")
        return
    many = list_tools.draw(view, chosen, queries, narrowed, totals)
    _download(view, chosen.tools, narrowed)
    marking, listed = st.container(), st.container()
    page = paging.choose(max(totals), paging.FINDING_ROWS)
    with listed:
        columns = st.columns(len(queries), gap="large")
    for column, side, query, whole, total in zip(columns, sides, queries, narrowed, totals, strict=True):
        place = Place(query, (page - 1) * paging.FINDING_ROWS, len(queries) > 1, chosen.kept)
        with column:
            _of_one(view, side, found, place, whole, total, names, many)
    if many:
        with marking:  # drawn last, when the ticks are known
            selection.bar(view, narrowed, sum(totals))


def _partitions(claim: Claim, side: Side) -> tuple[Partition, ...]:
    return {"any": PARTITIONS, "only": (side,), "shared": ("shared",)}[claim]


def _of_one(
    view: View,
    side: Side,
    found: tuple[Finding, ...],
    place: Place,
    whole: FeatureQuery,
    total: int,
    names: dict[Side, str],
    many: bool,
) -> None:
    """A page of one model's findings."""
    own = tuple(one for one in found if one.side == side)
    number = f"{len(own):,}" if total == len(own) else f"{total:,} of {len(own):,}"
    behind = findings.behind(own, names[opposite(side)])
    shown = f"{number} {'finding' if len(own) == 1 else 'findings'}{f'; {escape(behind)}' if behind else ''}"
    st.html(
        f'<h3 class="dfc-side">{side_name(side, names)} does better</h3>'
        f'<div class="dfc-small" title="{finding_rows.MEASURED}">{shown}; bars: gap in {findings.UNIT} beyond matched '
        "places</div>"
    )
    table = data.features(view.store, replace(whole, limit=paging.FINDING_ROWS, offset=place.position))
    if table.empty:
        words = (
            "No finding: nowhere does it do better by so much for sure."
            if not own
            else "No more on this page."
            if total
            else "No finding passes these filters. Widen one of them or clear them all."
        )
        st.html(f'<p class="dfc-muted">{words}</p>')
        return
    table = feature_table.searched(view, table, whole)
    by_feature, longest = {one.feature_id: one for one in own}, finding_rows.scale(found)
    contexts = view.store.strongest_contexts([int(identity) for identity in table["feature_id"]])
    rows: Any = table.itertuples()
    for position, row in enumerate(rows):
        finding = by_feature[int(row.feature_id)]
        at = address.neighbour(place, position)
        with st.container(key=f"finding_{finding.finding}"):
            if many:
                _tick(view, finding)
            room: finding_rows.Room = "half" if place.beside else "wide"
            why = feature_table.in_words(row)
            finding_rows.row(view, finding, row, contexts.get(finding.feature_id), at, longest, room, why)
            group.offer(view, finding, place.beside)


def _tick(view: View, finding: Finding) -> None:
    identity = finding.feature_id
    key = f"tick_{selection.round_number()}_{identity}"
    ticked = st.checkbox(f"Choose feature {identity}", value=identity in selection.chosen(view.run.name), key=key)
    selection.take(view.run.name, [identity], [identity] if ticked else [])


def _download(view: View, tools: Any, narrowed: list[FeatureQuery]) -> None:
    """What the lists show, all pages, as a table."""
    store, found, name = view.store, data.findings(view.store), view.run.name

    def make() -> bytes:
        kept = {identity for query in narrowed for identity in store.feature_ids(query)}
        return tables.csv(findings.frame([one for one in found if one.feature_id in kept]))

    with tools:
        downloads.button(
            "CSV",
            make,
            f"{name}-findings.csv",
            "text/csv",
            icon=":material/download:",
            key="findings_csv",
            help="All findings that pass the filters, by rank, with their figures.",
        )


def _rule(settings: str) -> str:
    return plain(
        f"{settings} The surest come first, by the gap less two standard errors; those last in which their model falls "
        "behind the other all the same. What a gap is beyond: what follows at matched places, in texts of the same "
        "source, said by the same speaker, at a token of the same kind, as far into the document, where the feature "
        "does not fire, and what the rarity of the words that follow explains."
    )
