"""The address bar: what a view shows is in it, so that an address shared shows the same.

Numbers, texts and names are bound to it by their widgets (`bind="query-params"`), choices stand
in it by ids (`choice.py`). The run, the feature and the list it was opened from outlive a change of
page; they are read and written here. Streamlit clears the address on navigation: every link passes
on what must stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from dfc.config import PARTITIONS, SIDES, VERDICTS, UserError
from dfc.store import query as queries
from dfc.store.query import FeatureQuery
from dfc.ui.shell import pages
from dfc.ui.shell.notebook import Kept
from dfc.ui.shell.text import plain

T = TypeVar("T")

FEATURE_PAGE = pages.script("feature")
FINDINGS_PAGE = pages.script("findings")
TABLE_PAGE = pages.script("table")
NORMS_PAGE = pages.script("norms")
STEER_PAGE = pages.script("steer")
PROMPT_PAGE = pages.script("prompt")
PROMPT_PATH = next(page.path for page in pages.PAGES if page.room == "prompt")
OWN_WORDS_PAGE = pages.script("own_words")
RUNS_PAGE = pages.script("runs")
LISTS_PAGE = pages.script("lists")
_TEXTS = {
    "source": "main_source",
    "within": "source",
    "role": "role",
    "label": "label",
    "search": "search",
    "about": "about",
}
"""Filters of a query that are texts, by their names in a packed list."""
LARGEST = 2**31 - 1
"""Of the numbers in an address: no feature, document or place in a list has a larger one."""
_COUNTS = ("max_tokens", "seed", "sweep_limit", "sweep_top", "page", "themes")
_MEASURES = ("temperature", "top_p")
_SWITCHES = ("alive", "answered", "both", "chat", "control", "select", "sweep_control", "sweep_judge")
"""Parameters that are bound to widgets: for whole numbers, for any, and for yes or no."""
_TOLD, _LEFT = "told_unknown", "address_left"


@dataclass(frozen=True)
class Place:
    """Where in a sorted, filtered list a feature was opened: previous and next follow that list."""

    query: FeatureQuery
    position: int
    beside: bool = False
    """Whether the list stood beside that of the other model."""
    kept: Kept = field(default_factory=Kept)
    """What the list is narrowed to by readers' marks; `notebook.narrow` applies it to the query."""
    region: str = ""
    """Of the chart of decoder norms, packed: the list is what lies in it, those that fire most first."""


def get(name: str) -> str | None:
    """A parameter of the address."""
    return st.query_params.get(name)


def come_back(run: str, *names: str) -> None:
    """Where the address says nothing of these, as one of the sidebar does, have it say what it said here last.

    Args:
        run: to which it belongs; none where it belongs to all.
        names: of parameters.
    """
    left: dict[tuple[str, ...], dict[str, str]] = st.session_state.setdefault(_LEFT, {})
    said = {name: text for name in names if (text := get(name)) is not None}
    if said:
        left[run, *names] = said
    else:
        for name, text in left.get((run, *names), {}).items():
            st.query_params[name] = text


def whole(text: str) -> int | None:
    """A whole number from 0 to LARGEST; None of any other text."""
    known = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST)) and int(text) <= LARGEST
    return int(text) if known else None


def unknown(name: str, text: str) -> None:
    """Say, once in a session, what the address asks for that there is not; what is usual is shown in its place."""
    told: set[tuple[str, str]] = st.session_state.setdefault(_TOLD, set())
    if (name, text) not in told:
        told.add((name, text))
        asked = plain(f"“{name}={text:.40}”")
        st.toast(f"The address asks for {asked}; there is no such thing here.", icon=":material/link_off:")


def meant(name: str, understand: Callable[[str], T | None]) -> T | None:
    """What a parameter of the address stands for; None where there is none or, which is said, it stands for nothing.

    Args:
        name: of the parameter.
        understand: what a text stands for, None if for nothing.
    """
    text = get(name) or ""
    known = understand(text) if text else None
    if text and known is None:
        unknown(name, text)
    return known


def number(text: str) -> float | None:
    """A number; None of any other text."""
    try:
        return float(text)
    except ValueError:
        return None


def within(name: str, least: float, largest: float) -> None:
    """Say so where the widget that is bound to a number of the address will not take it; once drawn, it has its own."""
    value = meant(name, number) if name not in st.session_state else None
    if value is not None and not least <= value <= largest:
        unknown(name, get(name) or "")


def check() -> None:
    """Say what a widget cannot use, which Streamlit drops without a word; of a whole number that a float cannot hold
    it makes a traceback.

    Raises:
        UserError: if the address has such a number.
    """
    for name in (*_COUNTS, *_MEASURES):
        value = meant(name, number)
        if value is not None and math.isinf(value):
            raise UserError(f"The address holds “{name}={get(name):.40}”, which is too large; take it out or lower it.")
    for name in _SWITCHES:
        meant(name, lambda text: {"true": True, "false": False}.get(text.lower()))


def feature_id() -> int | None:
    """The feature in the address.

    Raises:
        UserError: if it is no number, or a larger one than any feature has.
    """
    text = (get("feature") or "").strip()
    if not text:
        return None
    identity = whole(text)
    if identity is None:
        raise UserError(
            f"The address asks for the feature “{text:.40}”; a feature is a whole number from 0 to {LARGEST:,}."
        )
    return identity


def feature_params(run_name: str, feature: int, place: Place | None = None) -> dict[str, str]:
    """The address of a feature's page, with the list it belongs to."""
    params = {"run": run_name, "feature": str(feature)}
    return params | ({"list": pack(place)} if place else {})


def prompt_params(run_name: str, document: int, feature: int | None = None) -> dict[str, str]:
    """The address of the Prompt page on a stored document, with a feature to colour it by."""
    params = {"run": run_name, "document": str(document)}
    return params | ({"feature": str(feature)} if feature is not None else {})


def text_params(run_name: str, text: str, feature: int) -> dict[str, str]:
    """The address of the Prompt page on a text, with a feature to colour it by."""
    return {"run": run_name, "text": text, "feature": str(feature)}


def pack(place: Place) -> str:
    """A list and a position in it as one short parameter."""
    query, default, kept = place.query, FeatureQuery(), place.kept
    entries: list[tuple[str, object]] = [("at", place.position), ("in", ",".join(query.partitions))]
    entries += [(key, 1) for key, asked in _flags(place).items() if asked]
    if query.order != default.order:
        entries.append(("by", query.order))
    entries += [(key, getattr(query, name)) for key, name in _TEXTS.items() if getattr(query, name)]
    entries += [(key, text) for key, text in (("tag", kept.tag), ("on", kept.on_list)) if text is not None]
    if place.region:
        entries.append(("region", place.region))
    if query.found:
        entries.append(("found", query.found))
    if query.finding is not None:
        entries.append(("finding", query.finding))
    if query.verdicts:
        entries.append(("verdict", ",".join(query.verdicts)))
    entries += [(name, f"{low!r}..{high!r}") for name, (low, high) in query.within]
    return urlencode(entries)


def _flags(place: Place) -> dict[str, bool]:
    return {
        "up": not place.query.descending,
        "dead": not place.query.alive_only,
        "beside": place.beside,
        "strongest": place.query.strongest,
        "starred": place.kept.favourite,
        "noted": place.kept.noted,
    }


def place() -> Place | None:
    """The list in the address; None where there is none or, which is said, it makes no sense."""
    return meant("list", unpack)


def unpack(text: str) -> Place | None:
    """What `pack` made; None of any other text."""
    entries = dict(parse_qsl(text))
    default = FeatureQuery()
    order = entries.get("by", default.order)
    try:
        position = whole(entries["at"])
        ranges = {name: _ends(entries[name]) for name in queries.ranges() if name in entries}
    except (KeyError, ValueError):
        return None
    partitions = tuple(name for name in PARTITIONS if name in entries.get("in", "").split(","))
    verdicts = tuple(name for name in VERDICTS if name in entries.get("verdict", "").split(","))
    if position is None or not partitions or order not in queries.orders():
        return None
    query = FeatureQuery(
        partitions=partitions,
        alive_only="dead" not in entries,
        strongest="strongest" in entries,
        verdicts=verdicts,
        finding=whole(entries.get("finding", "")),
        found=next((side for side in SIDES if side == entries.get("found")), None),
        order=order,
        descending="up" not in entries,
        **{name: entries[key] for key, name in _TEXTS.items() if key in entries},  # type: ignore[arg-type]
    ).ranged(**ranges)
    kept = Kept("starred" in entries, "noted" in entries, entries.get("tag"), entries.get("on"))
    return Place(query, position, "beside" in entries, kept, entries.get("region", ""))


def _ends(text: str) -> tuple[float, float]:
    low, _, high = text.partition("..")
    ends = float(low), float(high)
    if any(map(math.isnan, ends)):
        raise ValueError
    return ends


def neighbour(place: Place, step: int) -> Place:
    """The place `step` further down the list; it may lie outside."""
    return replace(place, position=place.position + step)
