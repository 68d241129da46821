"""The address at which the page of a list shows a place of it: of the table, of the findings, of the chart of norms, of
what readers marked.

Links lead there at once. Where a page changes its address itself, it does so in two steps, and a step back in the
browser ends between them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from dfc.config import PARTITIONS, Partition, opposite
from dfc.store import query as queries
from dfc.store.query import FeatureQuery
from dfc.ui.shell import address, data, feature_filters, likeness, norm_region, notebook, orders, paging
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.notebook import Kept

Params = dict[str, str | list[str]]
SHOW: dict[str, tuple[Partition, ...]] = {"both": ("a", "b"), "a": ("a",), "b": ("b",), "shared": ("shared",)}
"""Of the table: choices of what is shown, and the tables that each stands for."""
Claim = Literal["any", "only", "shared"]
"""Of the findings: whether only the model that does better may use the best feature, or both."""
FIRST = "finding"
"""Their order at first: by rank."""
FAVOURITES, NOTES, DECISIONS, LIST, TAG = "favourites", "notes", "decisions", "list:", "tag:"
"""Of what readers marked: what is shown; a name follows the last two."""
GROUP = "group"
"""In the address: the number of the finding that is unfolded."""


def narrowed(view: View, query: FeatureQuery, kept: Kept) -> FeatureQuery:
    """What the store is asked for a list: narrowed to what readers marked, with the vector of what it is about.

    Raises:
        UserError: if that is asked for, and the encoder does not load.
    """
    return likeness.resolved(view, notebook.narrow(view.run.name, query, kept))


def table(view: View, place: Place) -> Params:
    """Of the table of features."""
    single = next((name for name, partitions in SHOW.items() if partitions == place.query.partitions), "")
    show = "" if place.beside else single
    params = feature_filters.params(place, paging.TABLE_ROWS, orders.default_order(view), show)
    return {"run": view.run.name, **params}


def findings(view: View, place: Place) -> Params:
    """Of the page of findings: a place of a list of them, or the finding whose features are listed."""
    run: Params = {"run": view.run.name}
    if (number := place.query.finding) is not None:
        rank = next((one.rank for one in data.findings(view.store) if one.finding == number), 1)
        page = (rank - 1) // paging.FINDING_ROWS + 1
        return {**run, GROUP: str(number), **({"page": str(page)} if page > 1 else {})}
    whose = "" if place.beside else place.query.found or ""
    params = feature_filters.params(place, paging.FINDING_ROWS, FIRST, whose, feature_filters.FINDINGS)
    partitions = place.query.partitions
    claim: Claim = "shared" if partitions == ("shared",) else "only" if len(partitions) == 1 else "any"
    return {**run, **params, **({"claim": claim} if claim != "any" else {})}


def beyond(place: Place, step: int) -> Place | None:
    """Where two lists stand beside each other, the beginning of the one that follows an end of a list, if any does.

    A's list is followed by B's.

    Args:
        place: the first or the last of its list.
        step: 1 for what comes after it, -1 for what comes before.
    """
    side = place.query.found or place.query.partitions[0]
    if not place.beside or (side, step) not in (("a", 1), ("b", -1)):
        return None
    turned: dict[Partition, Partition] = {"a": "b", "b": "a", "shared": "shared"}
    own = {turned[partition] for partition in place.query.partitions}
    partitions = tuple(partition for partition in PARTITIONS if partition in own)
    found = place.query.found and opposite(place.query.found)
    query = replace(place.query, partitions=partitions, found=found)
    return replace(place, query=query, position=0)


def marked(view: View, place: Place) -> Params:
    """Of the page of notes and lists."""
    kept, page = place.kept, place.position // paging.MARKED_ROWS + 1
    named = f"{TAG}{kept.tag}" if kept.tag is not None else FAVOURITES
    shown = f"{LIST}{kept.on_list}" if kept.on_list is not None else named
    return {"run": view.run.name, "kept": shown, **({"page": str(page)} if page > 1 else {})}


def of(view: View, place: Place) -> tuple[str, Params]:
    """The page that shows a list, and its address at a place of it."""
    if place.region:
        return address.NORMS_PAGE, {**norm_region.params(view.run.name, place, paging.TABLE_ROWS)}
    if place.query.order == queries.LISTED:
        return address.LISTS_PAGE, marked(view, place)
    if place.query.found is not None or place.query.finding is not None:
        return address.FINDINGS_PAGE, findings(view, place)
    return address.TABLE_PAGE, table(view, place)
