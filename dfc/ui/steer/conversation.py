"""The turns of a chat before the prompt on the Steer page: a system prompt, and what was said so far."""

from __future__ import annotations

import streamlit as st

from dfc import corpus
from dfc.requests import Prompt
from dfc.ui.shell import address, turns
from dfc.ui.shell.turns import ROLES, Turns

_PARAMETER, _KEPT, _SEEN = "earlier", "steer_earlier", "steer_earlier_seen"
_MOST = 40


def earlier() -> Turns:
    """The turns in the address, or, where they are too long for it, in the session, for this run alone.

    Raises:
        UserError: if the address holds something else.
    """
    packed = address.get(_PARAMETER)
    if packed is not None:
        return turns.unpack(packed)
    run, kept = st.session_state.get(_KEPT, (None, ()))
    return kept if run == address.get("run") else ()


def write(said: Turns) -> None:
    """Put turns into the address, in place of what was there, or into the session if they are too long for it."""
    st.query_params.pop(_PARAMETER, None)
    st.session_state.pop(_KEPT, None)
    packed = turns.pack(said)
    if said and turns.fits(packed):
        st.query_params[_PARAMETER] = packed
    elif said:
        st.session_state[_KEPT] = address.get("run"), said


def show() -> Turns:
    """Draw the turns, to be changed, and the button that adds one; what they are now.

    Raises:
        UserError: if the address cannot be understood.
    """
    said, state = earlier(), st.session_state
    if state.get(_SEEN) != said or any(_key(number, "text") not in state for number in range(len(said))):
        for number, (role, text) in enumerate(said):
            state[_key(number, "role")], state[_key(number, "text")] = role, text
    for number in range(len(said)):
        columns = st.columns([2, 13, 1.4], gap="small")
        columns[0].selectbox("Role", ROLES, label_visibility="collapsed", key=_key(number, "role"))
        columns[1].text_area(
            "What was said",
            height=70,
            label_visibility="collapsed",
            placeholder="what was said",
            key=_key(number, "text"),
        )
        columns[2].button(
            "",
            icon=":material/close:",
            key=_key(number, "drop"),
            type="tertiary",
            help="Take this turn out",
            on_click=_drop,
            args=(number,),
        )
    typed = _typed(said)
    if typed != said:
        write(typed)
    state[_SEEN] = typed
    if typed and address.get(_PARAMETER) is None:
        st.caption("These turns are too long for the address: they are kept in this session alone.")
    st.button(
        "Add an earlier turn",
        icon=":material/add_comment:",
        key="earlier_add",
        type="tertiary",
        on_click=_add,
        disabled=len(said) >= _MOST,
        help="What was said before the prompt, or a system prompt. “Reply” above an answer adds the prompt and that "
        "answer.",
    )
    return typed


def reply(prompt: Prompt, answer: str) -> None:
    """Make a prompt and an answer to it part of the chat, without its thoughts; the next message is to be typed."""
    said = corpus.parts(answer).answer or answer
    write((*turns.of_corpus(prompt.earlier), ("user", prompt.text), ("assistant", said)))
    st.session_state["prompt"], st.session_state["chat"] = "", True


def _typed(said: Turns) -> Turns:
    """The turns as they stand in the editor, which may be newer than what a click was drawn with."""
    state = st.session_state
    return tuple(
        (state.get(_key(number, "role"), role), state.get(_key(number, "text"), text) or "")
        for number, (role, text) in enumerate(said)
    )


def _add() -> None:
    typed = _typed(earlier())
    write((*typed, (turns.next_role(typed), "")))


def _drop(number: int) -> None:
    typed = _typed(earlier())
    write(typed[:number] + typed[number + 1 :])


def _key(number: int, part: str) -> str:
    return f"earlier_{number}_{part}"
