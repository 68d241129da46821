"""The filters above a list of features: a few in sight, the rest folded away, all of them in the address."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import VERDICTS, Verdict
from dfc.report.words import capital, unjudged, verdict_means
from dfc.store import columns
from dfc.store import query as queries
from dfc.store.column import Column
from dfc.store.query import Ends
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import choice, data, likeness, notebook, paging
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View, at_another_run
from dfc.ui.shell.notebook import Kept
from dfc.ui.shell.orders import orders


@dataclass(frozen=True)
class Keys:
    """Names in the address of what is shown, and in which order."""

    show: str = "show"
    order: str = "order"


FINDINGS = Keys("whose", "sort")
"""On the page of findings."""


@dataclass(frozen=True)
class Filters:
    """What the reader chose above the list; `show` is an id of what there was to choose from."""

    show: str
    query: FeatureQuery
    kept: Kept
    tools: DeltaGenerator
    """The line under the filters, for what is done with the list."""


@dataclass(frozen=True)
class Range:
    """A filter with two ends; at its first or last step an end lets everything pass."""

    column: Column

    @property
    def field(self) -> str:
        """The column's name, which is the widget's key and stands in the address."""
        return self.column.name

    @property
    def title(self) -> str:
        """Above the slider."""
        return capital(self.column.words)

    @property
    def steps(self) -> tuple[float, ...]:
        """Of the slider."""
        return self.column.steps

    def format(self, value: float) -> str:
        """A step as it stands on the slider and in the address."""
        if self.field == "density":
            return f"{100 * value:g}%"
        return "any" if value == math.inf else f"{value:g}"

    def chosen(self, ends: tuple[float, float]) -> tuple[float, float] | None:
        """What the query is to ask; None where both ends let everything pass."""
        low, high = ends
        if (low, high) == (self.steps[0], self.steps[-1]):
            return None
        if self.field == "density":
            return ends
        return -math.inf if low == self.steps[0] else low, math.inf if high == self.steps[-1] else high

    def shown(self, ends: tuple[float, float] | None) -> tuple[float, float]:
        """The steps that stand for what a query asks."""
        low, high = ends or (-math.inf, math.inf)
        return self._nearest(low), self._nearest(high)

    def _nearest(self, end: float) -> float:
        inside = min(max(end, self.steps[0]), self.steps[-1])
        return inside if inside in self.steps else min(self.steps, key=lambda step: abs(step - inside))


def ranges() -> tuple[Range, ...]:
    """A filter for each column that can be filtered by its number."""
    return tuple(Range(one) for one in columns.columns() if one.steps)


_CHOICES = {
    "source": columns.meaning("main_source"),
    "fires_on": "Fires more often on this source than on the whole corpus, whatever its main source is.",
    "role": "Fires more often on what this speaker says than on the whole corpus; text: what is no chat.",
    "tag": "Words that readers gave to features.",
    "on": "Named lists that readers made; see Notes and lists.",
}
_MORE = ("source", "fires_on", "role", "label", "tag", "on", "starred", "noted", "alive")
"""Keys of the filters that are folded away, beside the ranges."""
_BOUND: Any = {"bind": "query-params", "on_change": paging.first}
"""How widgets stand in the address; what they change begins at the first page."""
_AS_IT_STANDS = (
    "Finds features whose label, kept contexts or peak tokens hold this text as it stands, several words as one "
    "phrase. Case does not matter."
)
_ORDERS = (
    "Sorts all features, not this page alone: the highest figure first, ranks from the best, texts from A to Z; "
    "reversed, the other way round. Features without the figure come last. Match with the search: where it stands as "
    "whole words first; of these labels that hold it, then by the number of contexts that do, then what fires rarest."
)


def draw(view: View, titles: Mapping[str, str], first: str, keys: Keys = Keys()) -> Filters:
    """The filter bar.

    Args:
        view: the page.
        titles: what can be shown: ids, and what is read in their place; the first of them is shown at first.
        first: the order at first.
        keys: of the choices of what is shown and of the order, which else a page takes over from another.
    """
    judged = not data.verdicts(view.store).empty
    at_another_run(_forget)
    top = st.columns([4, 5], vertical_alignment="bottom", gap="medium")
    with top[0]:
        shown = choice.one_of("Show", titles, keys.show, on_change=paging.first)
    lacking = likeness.lacking(view)
    meant = not lacking and _is_on("meaning")
    asked = _search_box(top[1], meant, keys.order)
    search, about = ("", asked) if meant else (asked, "")
    row = st.columns([4, 3, 2], vertical_alignment="bottom", gap="medium")
    verdicts = _verdicts(row[0], view, judged)
    with row[1]:
        order = choice.one_of_many(
            "Order by",
            orders(judged, bool(search), bool(about)),
            keys.order,
            first_order(search, about, first),
            help=_ORDERS,
            on_change=paging.first,
        )
    turned = row[2].toggle("reversed", key="rising", **_BOUND)
    tools = st.container(horizontal=True, vertical_alignment="center", gap="small", key="tools")
    with tools:
        limits, chosen, kept = _more(view, judged)
        st.toggle(
            "by meaning",
            key="meaning",
            disabled=bool(lacking),
            help=lacking or likeness.MEANS,
            bind="query-params",
            on_change=_searched,
            args=(keys.order,),
        )
        strongest = bool(search) and st.toggle(
            "search strongest contexts alone",
            key="strongest",
            help="Leaves out what was found in weaker contexts, which every feature has of all kinds.",
            **_BOUND,
        )
    query = FeatureQuery(
        search=search,
        about=about,
        strongest=strongest,
        verdicts=verdicts,
        order=order,
        descending=turned == queries.begins_low(order),
        **chosen,
    ).ranged(**limits)
    return Filters(shown, query, kept, tools)


def _search_box(place: DeltaGenerator, meant: bool, order: str) -> str:
    """What is searched for: what features are about, if it is `meant`, else words as they stand."""
    if meant:
        example, says = "what it is about, in your words; any language", likeness.MEANS
    else:
        example, says = "words in labels, contexts or peak tokens; Chinese, too", _AS_IT_STANDS
    text = place.text_input(
        "Search",
        key="search",
        icon=":material/search:",
        placeholder=example,
        help=says,
        bind="query-params",
        on_change=_searched,
        args=(order,),
    )
    return (text or "").strip()


def _verdicts(place: DeltaGenerator, view: View, judged: bool) -> tuple[Verdict, ...]:
    """Which verdicts are asked for, none for all; where nothing is judged, why."""
    facts = data.facts(view.store)
    if not judged:
        place.caption(unjudged(facts, view.run.name))
        return ()
    meanings = "\n".join(f"- **{verdict}**: {verdict_means(verdict, facts)}" for verdict in VERDICTS)
    said = f"What the evidence says.\n{meanings}"
    how = {"select_all": False, **_BOUND}  # Enter would take all that match what was typed
    return tuple(place.multiselect("Verdict", VERDICTS, key="verdict", placeholder="any", help=said, **how))


def first_order(search: str, about: str, first: str) -> str:
    """The order at first: with a search, how well features match it."""
    return queries.LIKENESS if about else queries.RELEVANCE if search else first


def _is_on(key: str) -> bool:
    """Whether a toggle that is drawn further down is on."""
    return bool(st.session_state.get(key, st.query_params.get(key) == "true"))


def _searched(order: str) -> None:
    paging.first()
    if st.session_state["search"]:
        choice.put(order, queries.LIKENESS if _is_on("meaning") else queries.RELEVANCE)


def _more(view: View, judged: bool) -> tuple[dict[str, Ends], dict[str, Any], Kept]:
    """What is folded away, with a count of what is set: ranges, other fields of the query, what readers said."""
    run, facts = view.run.name, data.facts(view.store)
    active = sum(key in st.query_params for key in (*_MORE, *(entry.field for entry in ranges())))
    with st.popover(f"More filters ({active})" if active else "More filters", icon=":material/tune:", key="folded"):
        firing, said = st.columns(2, gap="large")
        with firing:
            st.markdown("**How it fires**")
            limits = _ranges(False)
            chosen: dict[str, Any] = {}
            sources = list(facts.get("source_pairs") or {})
            chosen["main_source"] = _one_of("Main source", sources, "source")
            chosen["source"] = _one_of("Fires more often on", sources, "fires_on")
            roles = [role for role, pairs in (facts.get("role_pairs") or {}).items() if pairs]
            chosen["role"] = _one_of("More often said by", roles, "role")
            chosen["alive_only"] = st.toggle(
                "alive only", value=True, key="alive", help="Leave out features that never fired.", **_BOUND
            )
        with said:
            if judged:
                st.markdown("**What the evidence says**")
                limits |= _ranges(True)
            st.markdown("**What it is called, and what readers said**")
            label = st.text_input("Label", key="label", placeholder="any", help=columns.meaning("label"), **_BOUND)
            chosen["label"] = (label or "").strip()
            tag = _one_of("Tag", list(notebook.names("tag", run)), "tag")
            on_list = _one_of("On the list", list(notebook.names("list", run)), "on")
            starred = st.toggle("favourites only", key="starred", **_BOUND)
            noted = st.toggle("with a note", key="noted", **_BOUND)
    return limits, chosen, Kept(starred, noted, tag, on_list)


def _ranges(judged: bool) -> dict[str, Ends]:
    """Sliders, and what they ask of the query."""
    chosen: dict[str, Ends] = {}
    for entry in (entry for entry in ranges() if columns.judged(entry.field) == judged):
        ends = st.select_slider(
            entry.title,
            entry.steps,
            value=(entry.steps[0], entry.steps[-1]),
            format_func=entry.format,
            key=entry.field,
            help=columns.meaning(entry.field),
            **_BOUND,
        )
        asked = entry.chosen(ends)
        if asked is not None:
            chosen[entry.field] = asked
    return chosen


def _one_of(title: str, options: list[str], key: str) -> str | None:
    return st.selectbox(title, options, index=None, placeholder="any", key=key, help=_CHOICES[key], **_BOUND)


def offer_to_clear(chosen: Filters, further: Mapping[str, str] = MappingProxyType({})) -> None:
    """A button that lets everything pass again, in the line of tools, if any filter keeps something back.

    Args:
        chosen: what `draw` gave.
        further: choices of the page that filter, too, and were drawn: what each lets everything pass by.
    """
    active = (*_MORE, "search", "verdict", *(entry.field for entry in ranges()), *further)
    if any(key in st.query_params for key in active):
        with chosen.tools:
            st.button(
                "Clear all",
                icon=":material/filter_alt_off:",
                type="tertiary",
                key="clear",
                on_click=_clear,
                args=(dict(further),),
            )


def _forget() -> None:
    """As `_clear`, words are looked for as such, and the order is not reversed."""
    _clear({})
    st.session_state.update({"rising": False, "meaning": False})


def _clear(further: Mapping[str, str]) -> None:
    """Every filter lets everything pass; what is shown and its order stay."""
    paging.first()
    for key, everything in further.items():
        choice.put(key, everything)
    st.session_state.update({"search": "", "label": "", "alive": True, "starred": False, "noted": False})
    if "strongest" in st.session_state:
        st.session_state["strongest"] = False
    for key in ("source", "fires_on", "role", "tag", "on"):
        st.session_state[key] = None
    if "verdict" in st.session_state:
        st.session_state["verdict"] = []
    for entry in ranges():
        if entry.field in st.session_state:
            st.session_state[entry.field] = (entry.steps[0], entry.steps[-1])


def params(place: Place, page_rows: int, first: str, show: str = "", keys: Keys = Keys()) -> dict[str, str | list[str]]:
    """The address at which the bar shows this place of a list: what widgets write, unless it is their default.

    Args:
        place: of the list.
        page_rows: of a page of it.
        first: the order at first.
        show: which of what can be shown; none: the first.
        keys: as for `draw`.
    """
    query, kept = place.query, place.kept
    entries: dict[str, tuple[bool, str | list[str]]] = {
        keys.show: (show != "", show),
        keys.order: (query.order != first_order(query.search, query.about, first), query.order),
        "rising": (query.descending == queries.begins_low(query.order), "true"),
        "alive": (not query.alive_only, "false"),
        "source": (query.main_source is not None, query.main_source or ""),
        "fires_on": (query.source is not None, query.source or ""),
        "role": (query.role is not None, query.role or ""),
        "label": (query.label != "", query.label),
        "search": (query.search + query.about != "", query.about or query.search),
        "meaning": (query.about != "", "true"),
        "strongest": (query.strongest, "true"),
        "verdict": (query.verdicts != (), list(query.verdicts)),
        "starred": (kept.favourite, "true"),
        "noted": (kept.noted, "true"),
        "tag": (kept.tag is not None, kept.tag or ""),
        "on": (kept.on_list is not None, kept.on_list or ""),
        "page": (place.position >= page_rows, str(place.position // page_rows + 1)),
    }
    for entry in ranges():
        ends = entry.shown(query.range(entry.field))
        entries[entry.field] = (ends != (entry.steps[0], entry.steps[-1]), [entry.format(end) for end in ends])
    return {name: value for name, (wanted, value) in entries.items() if wanted}
