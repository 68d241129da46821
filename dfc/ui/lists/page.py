"""Notes and lists: what readers marked in this run, to read, to put in order and to take along."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dfc import corpus, runs
from dfc.report.document import Chosen
from dfc.report.heatmap import side_of
from dfc.runs import Run
from dfc.store import along
from dfc.store import query as queries
from dfc.store.book import NAME_LENGTH, TEXT_LENGTH, Book, Decision, Kind, Mark, Note, latest
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery
from dfc.ui.lists import arranging, said
from dfc.ui.shell import (
    address,
    choice,
    data,
    downloads,
    feature_list,
    list_address,
    notebook,
    paging,
    reporting,
)
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.list_address import DECISIONS, FAVOURITES, LIST, NOTES, TAG
from dfc.ui.shell.look import section
from dfc.ui.shell.notebook import Kept
from dfc.ui.shell.text import count, plain, sentence


@dataclass(frozen=True)
class Marked:
    """What is shown; `name` is the list's or the tag's."""

    kind: Kind
    name: str = ""

    @property
    def kept(self) -> Kept:
        """The same as a filter of the table."""
        return Kept(
            favourite=self.kind == "favourite",
            tag=self.name if self.kind == "tag" else None,
            on_list=self.name if self.kind == "list" else None,
        )


def show(view: View) -> None:
    """Draw the page."""
    st.html(
        '<div class="dfc-hero"><h1>Notes and lists</h1><p>What you and others said of this run\'s features: stars, '
        "tags, notes, decisions, and lists for a report. It is kept outside the run, and stays when the run is made "
        "again; what was said of a feature that has changed since is marked as such.</p></div>"
    )
    if not notebook.opened():
        return
    run = view.run.name
    kept = notebook.read(run)
    sizes: dict[str, int] = {FAVOURITES: len(kept.marked("favourite"))}
    sizes |= {f"{LIST}{name}": size for name, size in notebook.names("list", run).items()}
    sizes |= {f"{TAG}{name}": size for name, size in notebook.names("tag", run).items()}
    sizes |= {NOTES: len(kept.notes), DECISIONS: len(latest(kept.decisions))}
    if sum(sizes.values()) == 0 and len(sizes) == 3:
        _nothing()
    else:
        shown = _choose(sizes)
        if shown == NOTES:
            said.notes(view, kept.notes)
        elif shown == DECISIONS:
            said.decisions(view, kept.decisions)
        else:
            _features(view, kept, _marked(shown))
    _elsewhere(run)
    _along()


def _marked(shown: str) -> Marked:
    if shown.startswith(LIST):
        return Marked("list", shown.removeprefix(LIST))
    return Marked("tag", shown.removeprefix(TAG)) if shown.startswith(TAG) else Marked("favourite")


def _title(shown: str) -> str:
    """What a choice is called: an id with a name after a blank."""
    return next((f"{kind} {shown.removeprefix(kind)}" for kind in (LIST, TAG) if shown.startswith(kind)), shown)


def _nothing() -> None:
    st.html(
        '<div class="dfc-note"><p>Nothing is marked in this run yet. Open a feature and press <b>S</b> to make it a '
        "favourite, or give it a tag, a list or a note there; or choose many at once in the table of exclusive "
        "features with <b>Select</b>.</p></div>"
    )
    _new_list()


def _choose(sizes: dict[str, int]) -> str:
    first = next((name for name, size in sizes.items() if size), FAVOURITES)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shown = choice.one_of_many(
            "Show",
            {name: _title(name) for name in sizes},
            "kept",
            first,
            help="Favourites, each list, each tag, all notes, and what was decided of findings, the latest first.",
            width=420,
            on_change=paging.first,
            written=True,
        )
        _new_list()
        if shown.startswith(LIST):
            _manage(_marked(shown).name)
    return shown


def _new_list() -> None:
    with st.popover("New list", icon=":material/playlist_add:"):
        st.text_input("Name of the new list", key="new_list", max_chars=NAME_LENGTH, placeholder="e.g. for the report")
        st.button("Begin it", key="begin", on_click=_begin)


def _begin() -> None:
    name = st.session_state["new_list"]
    if notebook.change(lambda: st.session_state.update(begun=notebook.book().begin_list(name))):
        st.session_state["new_list"] = ""
        choice.put("kept", f"{LIST}{st.session_state.pop('begun')}")


def _manage(name: str) -> None:
    with st.popover("This list", icon=":material/more_horiz:"):
        st.text_input("Another name", value=name, key=f"name_{name}", max_chars=NAME_LENGTH)
        st.button("Rename", key="rename", on_click=_rename, args=(name,))
        st.divider()
        sure = st.checkbox("Delete the list with its notes; its features, tags and other notes stay", key="sure")
        st.button("Delete", key="delete", icon=":material/delete:", disabled=not sure, on_click=_delete, args=(name,))


def _rename(name: str) -> None:
    new = st.session_state[f"name_{name}"]
    if notebook.change(lambda: st.session_state.update(renamed=notebook.book().rename_list(name, new))):
        choice.put("kept", f"{LIST}{st.session_state.pop('renamed')}")


def _delete(name: str) -> None:
    if notebook.change(lambda: notebook.book().delete_list(name)):
        choice.put("kept", FAVOURITES)
        st.session_state["sure"] = False


def _features(view: View, kept: Book, chosen: Marked) -> None:
    remarks = kept.remarks()
    marks = {one.feature_id: one for one in kept.marks if (one.kind, one.name) == (chosen.kind, chosen.name)}
    fingerprints = view.store.fingerprints(list(marks))
    if not marks:
        st.html(
            '<p class="dfc-muted">No feature of this run is here yet. Add it from its own page or from the table.</p>'
        )
        return
    query = FeatureQuery(alive_only=False, order="feature_id", descending=False)
    as_listed = replace(query, order=queries.LISTED)
    ordered = [identity for identity in marks if identity in fingerprints]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.html(
            f'<span class="dfc-small">{count(len(marks))} {"feature" if len(marks) == 1 else "features"}</span>',
            width="content",
        )
        st.page_link(
            address.TABLE_PAGE,
            label="open in the table",
            icon=":material/table_rows:",
            query_params=list_address.table(view, Place(query, 0, kept=chosen.kept)),
            help="The same features with all their figures, to sort, filter and download.",
        )
        st.space("stretch")
        reporting.button(view, _report(kept, chosen))
    if chosen.kind == "list":
        arranging.cover(chosen.name)
    found_here = st.container()
    offset = (paging.choose(len(fingerprints), paging.MARKED_ROWS) - 1) * paging.MARKED_ROWS
    page = ordered[offset : offset + paging.MARKED_ROWS]
    table = data.features(view.store, replace(query, ids=tuple(page), limit=paging.MARKED_ROWS))
    listed: Any = table.itertuples()
    rows_of = {int(row.feature_id): row for row in listed}
    contexts = view.store.strongest_contexts(page)
    with found_here:
        for at, identity in enumerate(page, offset):
            feature, place = rows_of[identity], Place(as_listed, at, kept=chosen.kept)
            with st.container(key=f"kept_{identity}"):
                feature_list.row(view, feature, contexts.get(identity), side_of(feature.partition), place)
                _said(view, marks[identity], fingerprints[identity], chosen)
                said.latest_note(remarks[identity].notes, fingerprints[identity])
                if chosen.kind == "list":
                    arranging.row(view, chosen.name, ordered, marks[identity], fingerprints[identity])
    for identity in sorted(set(marks) - set(fingerprints)):
        _said(view, marks[identity], None, chosen)


def _report(kept: Book, chosen: Marked) -> Chosen:
    """What is reported of what is shown."""
    members = kept.marked(chosen.kind, chosen.name)
    if chosen.kind != "list":
        return Chosen(chosen.name or FAVOURITES.capitalize(), members)
    cover = kept.cover(chosen.name)
    return Chosen(cover.title or chosen.name, members, chosen.name, cover.author, cover.summary)


def _said(view: View, mark: Mark, fingerprint: str | None, chosen: Marked) -> None:
    """What was said of a feature, to be changed, and the way off the list; without a fingerprint it is gone."""
    run, identity = view.run.name, mark.feature_id
    key = f"gone_{identity}" if fingerprint is None else f"said_{identity}"
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=key):
        if fingerprint is None:
            note = f": {escape(mark.note)}" if mark.note else "."
            st.html(
                f'{notebook.EARLIER} <span class="dfc-small">Feature {identity} is no longer in this run{note}</span>',
                width="content",
            )
        else:
            if chosen.kind == "list":
                _why(run, mark, chosen.name)
            if mark.fingerprint != fingerprint:
                st.html(notebook.EARLIER, width="content")
        st.button(
            "Take off",
            icon=":material/close:",
            type="tertiary",
            key=f"off_{identity}",
            on_click=_off,
            args=(run, identity, chosen),
        )


def _why(run: str, mark: Any, name: str) -> None:
    identity = int(mark.feature_id)
    key = f"note_{name}_{identity}"
    st.session_state[key] = mark.note
    st.text_input(
        "Why it is on this list",
        key=key,
        label_visibility="collapsed",
        placeholder="why it is on this list",
        max_chars=TEXT_LENGTH,
        on_change=notebook.explain,
        args=(run, identity, mark.fingerprint, name, key),
    )


def _off(run: str, identity: int, chosen: Marked) -> None:
    notebook.change(lambda: notebook.book().unmark(run, [identity], chosen.kind, chosen.name))


def _elsewhere(run: str) -> None:
    """What is kept about other runs."""
    features: dict[str, set[int]] = {}
    kept = notebook.read()
    everything: list[Mark | Note | Decision] = [*kept.marks, *kept.notes, *kept.decisions]
    for one in everything:
        features.setdefault(one.run, set()).add(one.feature_id)
    others = {name: len(ids) for name, ids in sorted(features.items()) if name != run}
    if others:
        known = ", ".join(f"{plain(name)} ({count(size)})" for name, size in others.items())
        st.caption(f"Features of other runs that are marked, noted or decided on: {known}. Choose the run on the left.")


def _along() -> None:
    section(
        "Take it along",
        "All notes, tags, favourites, lists and decisions of all runs, and what people call features and say of flags, "
        "as one JSON file. Importing adds what a file holds and takes nothing away; where both sides marked the same, "
        "the later one holds.",
    )
    book = notebook.book()
    for problem in _exchanged(str(book.path), notebook.stamp(), _said_in_runs()):
        st.warning(plain(sentence(problem)), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        downloads.button(
            "Export as JSON",
            lambda: book.export().encode("utf-8"),
            f"dfc-notes-{time.strftime('%Y-%m-%d')}.json",
            "application/json",
            icon=":material/download:",
            key="export",
        )
        with st.popover("Import", icon=":material/upload:"):
            file = st.file_uploader("A file exported here or elsewhere", "json", key="import")
            st.button("Add what it holds", key="merge", disabled=file is None, on_click=_merge)
    if merged := st.session_state.pop("merged", None):
        st.success(merged, icon=":material/check:")


def _said_in_runs() -> tuple[tuple[str, int], ...]:
    """Every run, with the time of what people and judges said in it; 0 where nobody did."""
    files = [(run.path, run.explanations) for run in runs.all_runs()]
    return tuple((str(path), file.stat().st_mtime_ns if file.exists() else 0) for path, file in files)


@st.cache_data(max_entries=4, ttl=30, show_spinner=False)  # a file that is in use now is tried again
def _exchanged(path: str, stamp: object, states: tuple[tuple[str, int], ...]) -> list[str]:
    """Have the notebook and the runs know the same of what people say, once for each state of their files."""
    return along.exchange(Notebook(Path(path)), [Run(Path(folder)) for folder, _ in states])


def _merge() -> None:
    file = st.session_state["import"]
    books: list[Book] = []
    if file is not None and notebook.change(
        lambda: books.append(notebook.book().merge(corpus.decoded(file.getvalue(), file.name)))
    ):
        [read] = books
        further = {"decisions": read.decisions, "labels": read.labels, "words on flags": read.flags}
        told = [f"{len(entries):,} {name}" for name, entries in further.items() if entries]
        *parts, last = f"{len(read.notes):,} notes", f"{len(read.marks):,} marks", *told
        st.session_state["merged"] = f"Read {', '.join(parts)} and {last}; what was there already is not there twice."
