"""What readers say of a feature: a star, tags, lists with the reason, and a history of notes."""

from __future__ import annotations

from html import escape

import streamlit as st

from dfc.report import words
from dfc.store.book import TEXT_LENGTH, Kind, Mark, Note, Remarks, clean_text
from dfc.store.reader import FeatureRow
from dfc.ui.shell import notebook
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

SHOWN_NOTES = 20
_HELP: dict[Kind, str] = {
    "tag": "Short words of your own to find features again. Choose one, or type a new one and press Enter.",
    "list": "Named collections, e.g. for a report. Choose one, or type the name of a new one and press Enter.",
}


_SAID = "star_said"


@st.fragment
def show(view: View, feature: FeatureRow) -> None:
    """Draw the panel; what is changed is kept at once."""
    run, identity = view.run.name, feature.feature_id
    with st.container(key="notes_panel"):
        if not notebook.opened():
            return
        remarks = notebook.read().feature(run, identity)
        star, tags, lists, notes = st.columns([3, 5, 5, 3], vertical_alignment="bottom", gap="small")
        star.button(
            "Favourite",
            icon=":material/star:" if remarks.favourite else ":material/star_border:",
            type="primary" if remarks.favourite else "secondary",
            key="star",
            on_click=_star,
            args=(run, feature, remarks.favourite),
            help="Favourites can be filtered for in the table, and are listed under Notes and lists.",
            shortcut="S",
            width="stretch",
        )
        with tags:
            _names(run, feature, remarks, "tag", "Tags", "add a tag")
        with lists:
            _names(run, feature, remarks, "list", "On lists", "add to a list")
        with notes.popover(
            f"Notes ({len(remarks.notes)})" if remarks.notes else "Add a note",
            icon=":material/edit_note:",
            width="stretch",
        ):
            _write(run, feature)
            for mark in remarks.of_kind("list"):
                _reason(mark, feature)
            for note in remarks.notes[:SHOWN_NOTES]:
                _note(note, feature)
            if len(remarks.notes) > SHOWN_NOTES:
                st.caption(f"{len(remarks.notes) - SHOWN_NOTES} older ones are under Notes and lists.")
        if said := st.session_state.pop(_SAID, None):  # not in the callback: a fragment's would displace the whole page
            st.toast(said, icon=":material/star:")
        if decided := words.decisions(remarks.decisions, feature.fingerprint):
            st.html(f'<div class="dfc-small"><b>Decided:</b> {escape(decided)}</div>')
        if remarks.notes:
            st.html(notebook.note_html(remarks.notes[0], feature.fingerprint))
        if any(mark.fingerprint != feature.fingerprint for mark in remarks.marks):
            _other_version(run, feature)


def _star(run: str, feature: FeatureRow, was: bool) -> None:
    if _set(run, feature, "favourite", "", not was):  # said at the edge of the window: the key works out of sight, too
        are = "no favourite any more" if was else "a favourite now"
        st.session_state[_SAID] = f"Feature {feature.feature_id} is {are}."


def _set(run: str, feature: FeatureRow, kind: Kind, name: str, wanted: bool) -> bool:
    book, identity = notebook.book(), feature.feature_id
    if wanted:
        return notebook.change(lambda: book.mark(run, {identity: feature.fingerprint}, kind, name))
    return notebook.change(lambda: book.unmark(run, [identity], kind, name))


def _names(run: str, feature: FeatureRow, remarks: Remarks, kind: Kind, title: str, invitation: str) -> None:
    key = f"{kind}s_of_{feature.feature_id}"
    mine = [mark.name for mark in remarks.of_kind(kind)]
    st.session_state[key] = mine
    st.multiselect(
        title,
        list(dict.fromkeys([*notebook.names(kind), *mine])),
        key=key,
        accept_new_options=True,
        select_all=False,  # else Enter takes all that match what was typed
        placeholder=invitation,
        help=_HELP[kind],
        on_change=_rename,
        args=(run, feature, kind, mine, key),
    )


def _rename(run: str, feature: FeatureRow, kind: Kind, before: list[str], key: str) -> None:
    after: list[str] = st.session_state[key]
    for name in (name for name in after if name not in before):
        _set(run, feature, kind, name, True)
    for name in (name for name in before if name not in after):
        _set(run, feature, kind, name, False)


def _write(run: str, feature: FeatureRow) -> None:
    """A place for a new note, which is kept whenever the box is left, and ends with the button.

    What is typed is sent when the box is left, and once more with the click on the button by which it is left. So the
    box is never emptied: the next note has a box of its own, and what is sent twice is the same note.
    """
    identity = feature.feature_id
    key = f"new_note_{identity}_{st.session_state.get(_ended(identity), 0)}"
    if key not in st.session_state:  # a box drawn anew is empty, and so no part of what was written in it before
        st.session_state.pop(_begun(key), None)
    st.text_area(
        "New note",
        key=key,
        max_chars=TEXT_LENGTH,
        placeholder="What it fires on, what speaks against it, what to try",
        help="Kept as soon as you leave the box, with its time. With “Keep” it is done, and stays as it is.",
        height=110,
        width=420,
        on_change=_leave,
        args=(run, feature, key),
    )
    st.button("Keep", icon=":material/check:", key="keep_note", on_click=_end, args=(run, feature, key))


def _ended(identity: int) -> str:
    """Where the session has the number of notes that were written to the end."""
    return f"notes_ended_{identity}"


def _begun(key: str) -> str:
    """Where the session has the note that is being written in a box."""
    return f"{key}_begun"


def _keep(run: str, feature: FeatureRow, key: str, ends: bool = False) -> bool:
    """Keep what stands in the box in place of what stood there before, and say whether it is kept; a note that `ends`
    may not be empty."""
    begun: Note | None = st.session_state.get(_begun(key))
    text: str = st.session_state.get(key, "")
    book = notebook.book()

    def work() -> None:
        if not text.strip() and begun is not None:
            book.erase(begun)
            del st.session_state[_begun(key)]
        elif (ends or text.strip()) and (begun is None or begun.text != clean_text(text)):
            kept = book.write(run, feature.feature_id, feature.fingerprint, text, begun)
            st.session_state[_begun(key)] = kept

    return notebook.change(work) and _begun(key) in st.session_state


def _leave(run: str, feature: FeatureRow, key: str) -> None:
    _keep(run, feature, key)


def _end(run: str, feature: FeatureRow, key: str) -> None:
    if _keep(run, feature, key, ends=True):
        ended = _ended(feature.feature_id)
        st.session_state[ended] = st.session_state.get(ended, 0) + 1


def _reason(mark: Mark, feature: FeatureRow) -> None:
    key = f"reason_{feature.feature_id}_{mark.name}"
    st.session_state[key] = mark.note
    st.text_input(
        f"Why it is on “{plain(mark.name)}”",
        key=key,
        on_change=notebook.explain,
        args=(mark.run, mark.feature_id, feature.fingerprint, mark.name, key),
        max_chars=TEXT_LENGTH,
        placeholder="a note for this list",
    )


def _note(note: Note, feature: FeatureRow) -> None:
    with st.container(horizontal=True, vertical_alignment="top", gap="small"):
        st.html(notebook.note_html(note, feature.fingerprint), width="stretch")
        st.button(
            "Erase this note",
            icon=":material/delete:",
            type="tertiary",
            key=f"erase_{note.written}",
            on_click=_erase,
            args=(note,),
            help="Erases this note for good.",
        )


def _erase(note: Note) -> None:
    notebook.change(lambda: notebook.book().erase(note))


def _other_version(run: str, feature: FeatureRow) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.html(
            f'{notebook.EARLIER} <span class="dfc-small">'
            "Star, tags or lists were set on another version of this feature. Do they still hold?</span>",
            width="content",
        )
        st.button(
            "They still hold",
            key="confirm",
            type="tertiary",
            icon=":material/check:",
            on_click=_confirm,
            args=(run, feature),
        )


def _confirm(run: str, feature: FeatureRow) -> None:
    notebook.change(lambda: notebook.book().confirm(run, feature.feature_id, feature.fingerprint))
