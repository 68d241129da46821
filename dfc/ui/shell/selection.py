"""Many features at once: chosen in tables, on any page of them, then marked or downloaded together."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dfc.report import tables
from dfc.report.document import Chosen
from dfc.store.book import Kind, Remarks
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import downloads, notebook, reporting
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

_CHOSEN, _ROUND = "chosen_features", "chosen_round"
MOST = 20_000
"""Of more features at once no use is known; they would make the address of a session heavy."""


def chosen(run: str) -> set[int]:
    """The features of a run that are chosen in this session."""
    everything: dict[str, set[int]] = st.session_state.setdefault(_CHOSEN, {})
    return everything.setdefault(run, set())


def round_number() -> int:
    """A part of the tables' keys: another round draws their ticks anew from what is chosen."""
    return int(st.session_state.get(_ROUND, 0))


def take(run: str, shown: Sequence[int], ticked: Sequence[int]) -> None:
    """Keep what is ticked on the page that is shown; what was ticked on others stays."""
    everything = chosen(run)
    everything.difference_update(shown)
    everything.update(ticked)


def bar(view: View, queries: Sequence[FeatureQuery], total: int) -> None:
    """What can be done with what is chosen.

    Args:
        view: the page.
        queries: what the tables show, all pages.
        total: how many features that is.
    """
    run = view.run.name
    features = chosen(run)
    none = not features
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="selection", border=True):
        st.html(f'<b>{len(features):,}</b> <span class="dfc-small">chosen</span>', width="content")
        st.button(
            f"All {total:,}" if total <= MOST else f"All {total:,}: too many",
            icon=":material/select_all:",
            type="tertiary",
            key="choose_all",
            disabled=total == 0 or total > MOST,
            on_click=_choose_all,
            args=(run, view.store, queries),
            help="Chooses every feature that passes the filters, on all pages.",
        )
        st.button(
            "None",
            icon=":material/deselect:",
            type="tertiary",
            key="choose_none",
            disabled=none,
            on_click=_choose_none,
            args=(run,),
        )
        st.space("stretch")
        st.button(
            "Favourite",
            icon=":material/star:",
            key="mark_favourite",
            disabled=none,
            on_click=_mark,
            args=(run, view.store, "favourite", ""),
        )
        _named(view, "tag", "Tag", ":material/sell:", none)
        _named(view, "list", "Add to list", ":material/playlist_add:", none)
        downloads.button(
            "CSV",
            lambda: table(view.store, run, sorted(features)),
            f"{run}-features.csv",
            "text/csv",
            icon=":material/download:",
            key="csv",
            disabled=none,
            help="The chosen features with their figures; text that a spreadsheet would run is made plain.",
        )
        reporting.button(view, Chosen("Chosen features", tuple(sorted(features))))
    if said := st.session_state.pop("selection_said", None):
        st.toast(said, icon=":material/check:")


def table(store: Store, run: str, features: Sequence[int]) -> bytes:
    """The chosen features as CSV, with stars, tags and lists."""
    query = FeatureQuery(
        alive_only=False, ids=tuple(features), order="feature_id", descending=False, limit=max(1, len(features))
    )
    frame = store.features(query).drop(columns=["histogram", "fingerprint"], errors="ignore")
    remarks = notebook.book().read().of(run).remarks()
    kept = [remarks.get(identity, Remarks()) for identity in frame["feature_id"]]
    frame["favourite"] = [one.favourite for one in kept]
    frame["tags"] = ["; ".join(mark.name for mark in one.of_kind("tag")) for one in kept]
    frame["lists"] = ["; ".join(mark.name for mark in one.of_kind("list")) for one in kept]
    return tables.csv(frame)


def _named(view: View, kind: Kind, title: str, icon: str, none: bool) -> None:
    key = f"name_of_{kind}"
    with st.popover(title, icon=icon, disabled=none):
        st.selectbox(
            "Tag" if kind == "tag" else "List",
            list(notebook.names(kind)),
            index=None,
            key=key,
            accept_new_options=True,
            placeholder="choose one, or type a new one",
            width=320,
        )
        st.button("Add", key=f"add_{kind}", on_click=_mark, args=(view.run.name, view.store, kind, key))


def _choose_all(run: str, store: Store, queries: Sequence[FeatureQuery]) -> None:
    for query in queries:
        chosen(run).update(store.feature_ids(query))
    st.session_state[_ROUND] = round_number() + 1


def _choose_none(run: str) -> None:
    chosen(run).clear()
    st.session_state[_ROUND] = round_number() + 1


def _mark(run: str, store: Store, kind: Kind, key: str) -> None:
    name = str(st.session_state.get(key) or "") if key else ""
    features = store.fingerprints(sorted(chosen(run)))
    if notebook.change(lambda: notebook.book().mark(run, features, kind, name)):
        where = {"favourite": "favourites", "tag": f"tagged “{name}”", "list": f"on the list “{name}”"}[kind]
        are = "feature is" if len(features) == 1 else "features are"
        st.session_state["selection_said"] = f"{len(features):,} {are} now {plain(where)}."
