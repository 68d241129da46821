"""Deciding on a finding: who, one key each, why, and undo."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import streamlit as st

from dfc.screen import decided
from dfc.screen.queue import Subject
from dfc.store.book import NAME_LENGTH, TEXT_LENGTH, Choice, Decision, clean_line
from dfc.ui.shell import manners, notebook

KEYS: dict[Choice, tuple[str, str, str]] = {
    "finding": ("Finding", "F", "It is what it is said to be: one model knows or does it, the other does not."),
    "not-exclusive": ("Not exclusive", "N", "It can be read, and both models have it."),
    "unreadable": ("Not readable", "U", "Nothing that its contexts have in common can be named."),
    "duplicate": ("Duplicate", "D", "Another entry of the queue says the same; write the number of its feature first."),
    "later": ("Later", "L", "It comes again after all that is not decided."),
}
"""Of each decision the button, its key, and what it means."""
UNDO = "undo"
"""The key of a button that no other page has."""
_WHO, _KEPT = "who", notebook.WHO
_DRAWN = "decided_on"
"""Under which the session has what can be decided on: what a button was drawn for last."""
_LACKING = "duplicate_of_what"

Held = Mapping[int, Mapping[str, Decision]]


def who(decisions: Sequence[Decision]) -> str | None:
    """Draw the field for the name of who decides, and give it, written as it is known.

    It stays in the address, so that whoever reloads goes on, and with the session.
    """
    if _WHO not in st.session_state and st.session_state.get(_KEPT):  # as it was left when the page changed
        st.session_state[_WHO] = st.session_state[_KEPT]
    with st.container(key=f"{manners.LEFT_BY_ENTER}_who", width=240):
        text = st.text_input(
            "Who decides",
            key=_WHO,
            max_chars=NAME_LENGTH,
            bind="query-params",
            placeholder="your name",
            help="Decisions are kept with it. Enter keeps it and leaves the field; then keys decide.",
        )
    st.session_state[_KEPT] = text
    name = clean_line(text)
    return next((one.who for one in decisions if one.who.casefold() == name.casefold()), name) or None


def show(
    run: str, queue: Sequence[Subject], here: Subject, held: Held, name: str | None, made: Sequence[Decision]
) -> None:
    """Draw the buttons.

    Args:
        run: name of the run.
        queue: in its order.
        here: what is decided on.
        held: what holds, as `decided.standing` gives it.
        name: who decides; None: nobody yet, and nothing can be decided.
        made: decisions of the run, the latest first.
    """
    mine = held.get(here.feature_id, {}).get(name or "")
    st.session_state[_DRAWN] = here.feature_id
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="deciding"):
        for choice, (title, key, meaning) in KEYS.items():
            st.button(
                title,
                key=f"decide_{choice}",
                type="primary" if mine is not None and mine.choice == choice else "secondary",
                shortcut=key,
                help=meaning,
                disabled=name is None,
                on_click=_decide,
                args=(run, queue, here, held, name, choice),
            )
        last = next((one for one in made if one.who == name), None)
        st.button(
            "Undo",
            key=UNDO,
            icon=":material/undo:",
            type="tertiary",
            shortcut="Z",
            help="Takes your last decision in this run back, and shows what it was of.",
            disabled=last is None,
            on_click=_undo,
            args=(last,),
        )
    with st.container(key=f"{manners.LEFT_BY_ENTER}_why"):
        st.text_input(
            "Why",
            key=_why(here.feature_id),
            persist_state="session",  # what was not kept with a decision waits where it was typed
            max_chars=TEXT_LENGTH,
            placeholder="why, kept with the decision; press Enter, then a key" if name else "give your name first",
            label_visibility="collapsed",
            disabled=name is None,
        )
    if st.session_state.pop(_LACKING, False):
        st.warning(
            "Nothing is decided yet: write the number of the feature of which it is a duplicate, then press D.",
            icon=":material/edit:",
        )


def _decide(run: str, queue: Sequence[Subject], here: Subject, held: Held, name: str, choice: Choice) -> None:
    if st.session_state.pop(_DRAWN, None) != here.feature_id:  # a second click, before the next one is drawn
        return
    why = st.session_state.get(_why(here.feature_id), "")
    others = {str(one.feature_id) for one in queue if one != here}
    if choice == "duplicate" and not others & set(re.findall(r"\d+", why)):
        st.session_state[_LACKING] = True
        return
    book = notebook.book()
    if notebook.change(lambda: book.decide(run, here.feature_id, here.fingerprint, name, choice, why)):
        st.session_state[_why(here.feature_id)] = ""
        st.query_params["feature"] = str(decided.following(held, queue, name, here.feature_id))


def _undo(last: Decision) -> None:
    if notebook.change(lambda: notebook.book().take_back(last)):
        st.session_state[_why(last.feature_id)] = last.reason
        st.query_params["feature"] = str(last.feature_id)


def _why(feature: int) -> str:
    """The key of the field for why something is decided of a feature."""
    return f"why_{feature}"
