"""A list as a report: what stands above it, in which order its features come, and which of their contexts are shown."""

from __future__ import annotations

import streamlit as st

from dfc.report import findings
from dfc.report.findings import quoted
from dfc.store.book import LINE_LENGTH, TEXT_LENGTH, Mark
from dfc.ui.shell import notebook
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

_COVER = (
    ("title", "Title", LINE_LENGTH),
    ("author", "Author", LINE_LENGTH),
    ("summary", "Summary", TEXT_LENGTH),
)
"""What stands above a list's report: what it is kept as, what it is called, and how long it may be."""


def cover(name: str) -> None:
    """What stands above the list's report."""
    kept = notebook.read().cover(name)
    with st.expander(f"Report of {plain(name)}", icon=":material/title:"):
        for part, label, most in _COVER:
            key = f"{part}_{name}"
            st.session_state[key] = getattr(kept, part)
            field = st.text_area if part == "summary" else st.text_input
            plainly = "Plain text, no Markdown; lines stay as they are written." if part == "summary" else None
            field(label, key=key, max_chars=most, on_change=_describe, args=(name,), help=plainly)


def _describe(name: str) -> None:
    title, author, summary = (st.session_state[f"{part}_{name}"] for part, _, _ in _COVER)
    notebook.change(lambda: notebook.book().describe_list(name, title, author, summary))


def row(view: View, name: str, ordered: list[int], mark: Mark, fingerprint: str) -> None:
    """Where a feature stands on its list, and which of its contexts the report shows."""
    run, identity = view.run.name, mark.feature_id
    place = ordered.index(identity)
    chosen = list(mark.contexts) if mark.fingerprint == fingerprint else []
    shown = f"{len(chosen)} chosen" if chosen else "the strongest"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"arrange_{identity}"):
        for step, icon, words in ((-1, "arrow_upward", "Up"), (1, "arrow_downward", "Down")):
            st.button(
                words,
                icon=f":material/{icon}:",
                type="tertiary",
                key=f"{words.lower()}_{identity}",
                disabled=not 0 <= place + step < len(ordered),
                on_click=_move,
                args=(run, name, ordered, place, step),
                help="In this order the report shows them.",
            )
        st.toggle(f"Contexts: {shown}", key=f"pick_{identity}", help="Choose those that stand in what is exported.")
    if st.session_state.get(f"pick_{identity}"):
        _pick(view, name, mark, fingerprint, chosen)


def _move(run: str, name: str, ordered: list[int], place: int, step: int) -> None:
    moved = list(ordered)
    moved.insert(place + step, moved.pop(place))
    notebook.change(lambda: notebook.book().put_in_order(run, name, moved))


def _pick(view: View, name: str, mark: Mark, fingerprint: str, chosen: list[int]) -> None:
    """A choice among the contexts of a feature."""
    identity = mark.feature_id
    side = findings.own_side(view.store, view.store.feature(identity))
    words = {
        context.number: f"{context.peak:.3g}  {quoted(context, side)}" for context in view.store.contexts(identity)
    }
    key = f"contexts_{name}_{identity}"
    st.session_state[key] = [number for number in chosen if number in words]
    st.multiselect(
        "Contexts in the report",
        list(words),
        key=key,
        format_func=lambda number: words[number],
        select_all=False,  # else Enter takes all that match what was typed
        placeholder="the strongest, and one of each weaker quarter",
        on_change=_show_contexts,
        args=(view.run.name, identity, fingerprint, name, key),
    )


def _show_contexts(run: str, identity: int, fingerprint: str, name: str, key: str) -> None:
    chosen = list(st.session_state[key])
    notebook.change(lambda: notebook.book().show_contexts(run, identity, fingerprint, name, chosen))
