"""The address bar: what a view shows is in it, so that an address shared shows the same.

Filters bind their widgets to the address themselves (`bind="query-params"`). The run, the
feature and the list it was opened from outlive a change of page; they are read and written
here. Streamlit clears the address on navigation: every link passes on what must stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import get_args
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from dfc.config import PARTITIONS, Partition, UserError
from dfc.store.reader import FeatureQuery, Order

FEATURE_PAGE = "pages/2_Feature.py"
TABLE_PAGE = "pages/1_Exclusive_features.py"
STEER_PAGE = "pages/4_Steer.py"
PROMPT_PAGE = "pages/5_Prompt.py"
RUNS_PAGE = "pages/6_Runs.py"


@dataclass(frozen=True)
class Place:
    """Where in a sorted, filtered list a feature was opened: previous and next follow that list."""

    query: FeatureQuery
    position: int
    beside: bool = False
    """Whether the list stood beside that of the other model."""


def get(name: str) -> str | None:
    """A parameter of the address."""
    return st.query_params.get(name)


def feature_id() -> int | None:
    """The feature in the address.

    Raises:
        UserError: if it is no number.
    """
    text = get("feature")
    if text is None or not text.strip():
        return None
    if not text.strip().isascii() or not text.strip().isdigit():
        raise UserError(f"The address asks for the feature “{text:.40}”; a feature is a whole number from 0.")
    return int(text)


def feature_params(run_name: str, feature: int, place: Place | None = None) -> dict[str, str]:
    """The address of a feature's page, with the list it belongs to."""
    params = {"run": run_name, "feature": str(feature)}
    return params | ({"list": pack(place)} if place else {})


def prompt_params(run_name: str, document: int, feature: int | None = None) -> dict[str, str]:
    """The address of the Prompt page on a stored document, with a feature to colour it by."""
    params = {"run": run_name, "document": str(document)}
    return params | ({"feature": str(feature)} if feature is not None else {})


def pack(place: Place) -> str:
    """A list and a position in it as one short parameter."""
    query, default = place.query, FeatureQuery()
    entries: list[tuple[str, object]] = [("at", place.position), ("in", ",".join(query.partitions))]
    if query.order != default.order:
        entries.append(("by", query.order))
    if not query.descending:
        entries.append(("up", 1))
    if not query.alive_only:
        entries.append(("dead", 1))
    if query.density != default.density:
        entries.append(("density", f"{query.density[0]:g}..{query.density[1]:g}"))
    if query.main_source is not None:
        entries.append(("source", query.main_source))
    if place.beside:
        entries.append(("beside", 1))
    if query.search:
        entries.append(("search", query.search))
    return urlencode(entries)


def place() -> Place | None:
    """The list in the address; None where there is none or it makes no sense."""
    return unpack(get("list") or "")


def unpack(text: str) -> Place | None:
    """What `pack` made; None of any other text."""
    entries = dict(parse_qsl(text))
    try:
        partitions = tuple(name for name in entries["in"].split(",") if name in PARTITIONS)
        position = int(entries["at"])
        low, _, high = entries.get("density", "0..1").partition("..")
        density = float(low), float(high)
    except (KeyError, ValueError):
        return None
    order = entries.get("by", FeatureQuery().order)
    if position < 0 or not partitions or order not in get_args(Order) or not all(map(math.isfinite, density)):
        return None
    query = FeatureQuery(
        partitions=_partitions(partitions),
        alive_only="dead" not in entries,
        density=density,
        main_source=entries.get("source"),
        search=entries.get("search", ""),
        order=order,  # type: ignore[arg-type]  # checked above
        descending="up" not in entries,
    )
    return Place(query, position, "beside" in entries)


def list_params(run_name: str, place: Place) -> dict[str, str]:
    """The address of the table that shows this place of a list."""
    return {"run": run_name, "list": pack(place)}


def neighbour(place: Place, step: int) -> Place:
    """The place `step` further down the list; it may lie outside."""
    return replace(place, position=place.position + step)


def _partitions(names: tuple[str, ...]) -> tuple[Partition, ...]:
    return tuple(partition for partition in PARTITIONS if partition in names)
