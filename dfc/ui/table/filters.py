"""The filters above the table of features: a few in sight, the rest folded away, all of them in the address."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import VERDICTS, Partition
from dfc.report.words import PARTS, VERDICT_HELP
from dfc.store.query import TEXTS
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import choice, data, meaning, notebook, paging
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.notebook import Kept
from dfc.ui.shell.orders import ORDERS, default_order

Show = Literal["both", "a", "b", "shared"]
SHOW: dict[Show, tuple[Partition, ...]] = {"both": ("a", "b"), "a": ("a",), "b": ("b",), "shared": ("shared",)}
"""Choices of what is shown, and the tables that each stands for."""
_TITLES: dict[Show, str] = {"both": "side by side", "a": PARTS["a"], "b": PARTS["b"], "shared": PARTS["shared"]}

_JUDGED_ORDERS = ("confidence", "surprise_gap", "own_r2", "probe_ratio", "mirror_correlation", "verdict")
DENSITIES = (0.0, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
STRENGTHS = (0.0, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, math.inf)
_GAPS = (-1.0, -0.5, -0.2, -0.1, -0.05, 0.0, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, 1.0)
_SHARES = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Filters:
    """What the reader chose above the table."""

    show: Show
    query: FeatureQuery
    kept: Kept
    tools: DeltaGenerator
    """The line under the filters, for what is done with the list."""


@dataclass(frozen=True)
class Range:
    """A filter with two ends; at its first or last step an end lets everything pass."""

    field: str
    title: str
    steps: tuple[float, ...]
    judged: bool = False
    """Whether only evidence says it."""

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


RANGES = (
    Range("density", "Density", DENSITIES),
    Range("max", "Strongest activation", STRENGTHS),
    Range("relative_norm", "Relative norm", _SHARES),
    Range("confidence", "Confidence", _SHARES, judged=True),
    Range("surprise_gap", "Knows better what follows", _GAPS, judged=True),
    Range("own_r2", "R² from its own model", _SHARES, judged=True),
    Range("probe_ratio", "R², other model over own", _SHARES, judged=True),
    Range("mirror_correlation", "Likeness in the other model", _SHARES, judged=True),
)
_CHOICES = {
    "source": meaning.FEATURE["main_source"],
    "fires_on": "Fires more often on this source than on the whole corpus, whatever its main source is.",
    "role": "Fires more often on what this speaker says than on the whole corpus; text: what is no chat.",
    "tag": "Words that readers gave to features.",
    "on": "Named lists that readers made; see Notes and lists.",
}
MORE = (
    "source",
    "fires_on",
    "role",
    "label",
    "tag",
    "on",
    "starred",
    "noted",
    "alive",
    *(entry.field for entry in RANGES),
)
"""Keys of the filters that are folded away."""


def draw(view: View) -> Filters:
    """The filter bar."""
    judged = default_order(view) == "confidence"
    reset: Any = {"bind": "query-params", "on_change": paging.first}
    top = st.columns([4, 5], vertical_alignment="bottom", gap="medium")
    with top[0]:
        shown = choice.one_of("Show", _TITLES, "show", on_change=paging.first)
    search = top[1].text_input(
        "Search",
        key="search",
        icon=":material/search:",
        placeholder="words in labels, contexts or peak tokens; Chinese, too",
        help="Finds features whose label, kept contexts or peak tokens hold this text. Case does not matter.",
        **reset,
    )
    row = st.columns([4, 3, 2], vertical_alignment="bottom", gap="medium")
    verdicts: list[Any] = []
    if judged:
        meanings = "\n".join(f"- **{verdict}**: {VERDICT_HELP[verdict]}" for verdict in VERDICTS)
        verdicts = row[0].multiselect(
            "Verdict", VERDICTS, key="verdict", placeholder="any", help=f"What the evidence says.\n{meanings}", **reset
        )
    else:
        row[0].html(
            '<p class="dfc-small">Not judged yet: verdicts and confidence come with '
            f"<code>python -m dfc verify {view.run.name}</code>.</p>"
        )
    with row[1]:
        order = choice.one_of_many(
            "Order by",
            {order: title for order, title in ORDERS.items() if judged or order not in _JUDGED_ORDERS},
            "order",
            default_order(view),
            help="Sorts all features, not this page alone: the highest figure first, texts from A to Z; reversed: the "
            "lowest first, texts from Z. Features without the figure come last.",
            on_change=paging.first,
        )
    turned = row[2].toggle("reversed", key="rising", **reset)
    tools = st.container(horizontal=True, vertical_alignment="center", gap="small", key="tools")
    with tools:
        folded, kept = _more(view, judged, reset)
    query = FeatureQuery(
        search=(search or "").strip(),
        verdicts=tuple(verdicts),
        order=order,
        descending=turned == (order in TEXTS),
        **folded,
    )
    return Filters(shown, query, kept, tools)


def _more(view: View, judged: bool, reset: Any) -> tuple[dict[str, Any], Kept]:
    """What is folded away, with a count of what is set."""
    run, facts = view.run.name, data.facts(view.store)
    active = sum(key in st.query_params for key in MORE)
    with st.popover(f"More filters ({active})" if active else "More filters", icon=":material/tune:", key="folded"):
        firing, said = st.columns(2, gap="large")
        with firing:
            st.markdown("**How it fires**")
            chosen = _ranges(False, reset)
            sources = list(facts.get("source_pairs") or {})
            chosen["main_source"] = _one_of("Main source", sources, "source", reset)
            chosen["source"] = _one_of("Fires more often on", sources, "fires_on", reset)
            roles = [role for role, pairs in (facts.get("role_pairs") or {}).items() if pairs]
            chosen["role"] = _one_of("More often said by", roles, "role", reset)
            chosen["alive_only"] = st.toggle(
                "alive only", value=True, key="alive", help="Leave out features that never fired.", **reset
            )
        with said:
            if judged:
                st.markdown("**What the evidence says**")
                chosen |= _ranges(True, reset)
            st.markdown("**What it is called, and what readers said**")
            label = st.text_input("Label", key="label", placeholder="any", help=meaning.FEATURE["label"], **reset)
            chosen["label"] = (label or "").strip()
            tag = _one_of("Tag", list(notebook.names("tag", run)), "tag", reset)
            on_list = _one_of("On the list", list(notebook.names("list", run)), "on", reset)
            starred = st.toggle("favourites only", key="starred", **reset)
            noted = st.toggle("with a note", key="noted", **reset)
    if active or st.query_params.get("search") or st.query_params.get("verdict"):
        st.button("Clear all", icon=":material/filter_alt_off:", type="tertiary", key="clear", on_click=_clear)
    return chosen, Kept(starred, noted, tag, on_list)


def _ranges(judged: bool, reset: Any) -> dict[str, Any]:
    """Sliders, and what they ask of the query."""
    chosen: dict[str, Any] = {}
    for entry in (entry for entry in RANGES if entry.judged == judged):
        ends = st.select_slider(
            entry.title,
            entry.steps,
            value=(entry.steps[0], entry.steps[-1]),
            format_func=entry.format,
            key=entry.field,
            help=meaning.FEATURE[entry.field],
            **reset,
        )
        asked = entry.chosen(ends)
        if asked is not None:
            chosen[entry.field] = asked
    return chosen


def _one_of(title: str, options: list[str], key: str, reset: Any) -> str | None:
    return st.selectbox(title, options, index=None, placeholder="any", key=key, help=_CHOICES[key], **reset)


def _clear() -> None:
    """Every filter lets everything pass; what is shown and its order stay."""
    paging.first()
    st.session_state.update({"search": "", "label": "", "alive": True, "starred": False, "noted": False})
    for key in ("source", "fires_on", "role", "tag", "on"):
        st.session_state[key] = None
    if "verdict" in st.session_state:
        st.session_state["verdict"] = []
    for entry in RANGES:
        if entry.field in st.session_state:
            st.session_state[entry.field] = (entry.steps[0], entry.steps[-1])


def params(view: View, place: Place, page_rows: int) -> dict[str, str | list[str]]:
    """The address at which the bar shows this place of a list: what widgets write, unless it is their default."""
    query, kept = place.query, place.kept
    single = next((name for name, partitions in SHOW.items() if partitions == query.partitions), None)
    entries: dict[str, tuple[bool, str | list[str]]] = {
        "show": (single is not None and not place.beside, single or ""),
        "order": (query.order != default_order(view), query.order),
        "rising": (query.descending == (query.order in TEXTS), "true"),
        "alive": (not query.alive_only, "false"),
        "source": (query.main_source is not None, query.main_source or ""),
        "fires_on": (query.source is not None, query.source or ""),
        "role": (query.role is not None, query.role or ""),
        "label": (query.label != "", query.label),
        "search": (query.search != "", query.search),
        "verdict": (query.verdicts != (), list(query.verdicts)),
        "starred": (kept.favourite, "true"),
        "noted": (kept.noted, "true"),
        "tag": (kept.tag is not None, kept.tag or ""),
        "on": (kept.on_list is not None, kept.on_list or ""),
        "page": (place.position >= page_rows, str(place.position // page_rows + 1)),
    }
    for entry in RANGES:
        ends = entry.shown(getattr(query, entry.field))
        entries[entry.field] = (ends != (entry.steps[0], entry.steps[-1]), [entry.format(end) for end in ends])
    return {name: value for name, (wanted, value) in entries.items() if wanted}
