"""The notebook as pages use it: read again only when it changed, and written without a traceback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from pathlib import Path

import streamlit as st

from dfc import runs
from dfc.config import UserError
from dfc.store.book import Book, Kind, Note
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery
from dfc.ui.shell.text import plain, sentence

_PROBLEM, _CLOSED = "notebook_problem", "notebook_closed"
_READ_SECONDS = 2.0
WHO = "screen_who"
"""Under which the session keeps the name of whoever decides, or gives labels."""
OTHER_VERSION = (
    "Said of another version of this feature: its decoder has changed since, because the run was trained again."
)
EARLIER = f'<span class="dfc-flag" title="{OTHER_VERSION}">earlier version</span>'


@dataclass(frozen=True)
class Kept:
    """Which features a list is narrowed to by what readers said of them."""

    favourite: bool = False
    noted: bool = False
    tag: str | None = None
    on_list: str | None = None


def book() -> Notebook:
    """The notebook of this data folder."""
    return Notebook(runs.notebook_path())


def read(run: str | None = None) -> Book:
    """All that it holds (of one run, and all lists); nothing while it cannot be read."""
    if closed():
        return Book()
    whole = _read(str(book().path), stamp())
    return whole if run is None else whole.of(run)


def names(kind: Kind, run: str | None = None) -> dict[str, int]:
    """Every tag, or list, and how many features (of one run) it holds, by name; empty lists too."""
    kept = read(run)
    counts = Counter(one.name for one in kept.marks if one.kind == kind)
    named = dict.fromkeys(kept.list_names, 0) if kind == "list" else {}
    return dict(sorted((named | counts).items(), key=lambda item: item[0].lower()))


def narrow(run: str, query: FeatureQuery, kept: Kept) -> FeatureQuery:
    """The query, narrowed to what readers marked as asked for, in their order."""
    whole = read(run)
    asked: list[tuple[int, ...]] = []
    if kept.favourite:
        asked.append(whole.marked("favourite"))
    if kept.tag is not None:
        asked.append(whole.marked("tag", kept.tag))
    if kept.on_list is not None:
        asked.append(whole.marked("list", kept.on_list))
    if kept.noted:
        asked.append(tuple(note.feature_id for note in whole.notes))
    if not asked:
        return query
    first, *others = map(dict.fromkeys, asked)
    return replace(query, ids=tuple(identity for identity in first if all(identity in other for other in others)))


def closed() -> bool:
    """Whether it could not be read: what pages show of it is nothing, and not what is kept."""
    return bool(st.session_state.get(_CLOSED))


def change(work: Callable[[], object]) -> bool:
    """Write to the notebook from a callback; `opened` says what could not be done."""
    try:
        work()
    except UserError as error:
        st.session_state[_PROBLEM] = str(error)
        return False
    return True


def explain(run: str, feature_id: int, fingerprint: str, name: str, key: str) -> None:
    """A callback: keep what was typed under `key` as the reason why a feature stands on a list."""
    text = st.session_state[key]
    change(lambda: book().mark(run, {feature_id: fingerprint}, "list", name, note=text))


def opened() -> bool:
    """Whether the notebook can be read: else say so, and take it for empty until the script runs again.

    Every page that uses the notebook asks here first, so that a notebook that somebody else keeps open, or that is
    damaged, costs the page its notes and nothing more. Says also what the last change could not do.
    """
    text = st.session_state.pop(_PROBLEM, None)
    st.session_state[_CLOSED] = False
    try:
        read()
    except UserError as error:
        st.session_state[_CLOSED] = True
        text = str(error)
    if text:
        st.error(plain(sentence(text)), icon=":material/error:")
    return not st.session_state[_CLOSED]


def when(time: str) -> str:
    """A kept time as people read it, in this machine's zone, e.g. `24 Nov 2026, 20:53`."""
    try:
        return f"{datetime.fromisoformat(time).astimezone():%-d %b %Y, %H:%M}"
    except (ValueError, OverflowError):
        return time[:16]


def note_html(note: Note, fingerprint: str) -> str:
    """A note with its time, flagged if it was written about another version of the feature."""
    flag = "" if note.fingerprint == fingerprint else EARLIER
    return (
        f'<div class="dfc-said"><div class="dfc-about">{escape(when(note.written))}{flag}</div>'
        f"<div>{escape(note.text)}</div></div>"
    )


def stamp() -> tuple[int, int]:
    """Of the notebook's file as it is now."""
    path = book().path
    if not path.exists():
        return 0, 0
    state = path.stat()
    return state.st_mtime_ns, state.st_size


@st.cache_resource(max_entries=2, show_spinner=False)
def _read(path: str, stamp: tuple[int, int]) -> Book:
    return Notebook(Path(path), _READ_SECONDS).read()
