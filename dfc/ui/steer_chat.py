"""The turns of a chat before the prompt on the Steer page: a system prompt, and what was said so far."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dfc.ui import address, turns
from dfc.ui.turns import ROLES, Turns

_PARAMETER, _KEPT = "earlier", "steer_earlier"
_MOST = 40


def earlier() -> Turns:
    """The turns in the address, or in the session where they are too long for it.

    Raises:
        UserError: if the address holds something else.
    """
    packed = address.get(_PARAMETER)
    if packed is not None:
        return turns.unpack(packed)
    kept: Turns = st.session_state.get(_KEPT, ())
    return kept


def write(said: Turns) -> None:
    """Put turns into the address, in place of what was there, or into the session if they are too long for it."""
    st.query_params.pop(_PARAMETER, None)
    st.session_state.pop(_KEPT, None)
    packed = turns.pack(said)
    if said and turns.fits(packed):
        st.query_params[_PARAMETER] = packed
    elif said:
        st.session_state[_KEPT] = said


def show(said: Turns) -> None:
    """Draw the turns, to be changed, and the button that adds one; they stand above the prompt."""
    for number, (role, text) in enumerate(said):
        with st.container(key=f"earlier_{number}"):
            columns = st.columns([2, 13, 1.4], gap="small")
        columns[0].selectbox("Role", ROLES, label_visibility="collapsed", **_widget(said, number, "role", role))
        columns[1].text_area(
            "What was said",
            height=70,
            label_visibility="collapsed",
            placeholder="what was said",
            **_widget(said, number, "text", text),
        )
        columns[2].button(
            "",
            icon=":material/close:",
            key=f"earlier_{number}_drop",
            type="tertiary",
            help="Take this turn out",
            on_click=write,
            args=(said[:number] + said[number + 1 :],),
        )
    if st.session_state.get(_KEPT):
        st.caption("These turns are too long for the address: they are kept in this session alone.")
    st.button(
        "Add an earlier turn",
        icon=":material/add_comment:",
        key="earlier_add",
        type="tertiary",
        on_click=write,
        args=((*said, (turns.next_role(said), "")),),
        disabled=len(said) >= _MOST,
        help="What was said before the prompt, or a system prompt. “Reply” above an answer adds the prompt and that "
        "answer.",
    )


def reply(said: Turns, prompt: str, answer: str) -> None:
    """Make the prompt and one answer part of the chat; the next message is to be typed."""
    write((*said, ("user", prompt), ("assistant", answer)))
    st.session_state["prompt"] = ""


def _widget(said: Turns, number: int, name: str, value: str) -> dict[str, Any]:
    """Arguments of a widget that shows a part of a turn, and writes it back."""
    key = f"earlier_{number}_{name}"
    st.session_state[key] = value
    return {"key": key, "on_change": _change, "args": (said, number)}


def _change(said: Turns, number: int) -> None:
    state = st.session_state
    turn = (str(state[f"earlier_{number}_role"]), str(state[f"earlier_{number}_text"] or ""))
    write((*said[:number], turn, *said[number + 1 :]))
