"""What the Prompt page is given to read: a text, a chat, or a document of the run; in the address where it is short.

There are up to two prompts, told apart by the ending of their parameters: none for the first, `2` for the second.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from dfc import corpus
from dfc.config import UserError
from dfc.ui.shell import address, turns
from dfc.ui.shell.readers import Prompt
from dfc.ui.shell.text import plain, sentence
from dfc.ui.shell.turns import ROLES, Turns

KINDS = ("Text", "Chat", "Stored document")

_PARAMETERS = ("text", "lead", "chat", "document")


def chosen(ending: str = "") -> Prompt | None:
    """The prompt in the address, or the one that was too long for it; None before there is one.

    Raises:
        UserError: if the address holds one that makes no sense.
    """
    text, lead, chat, document = (address.get(name + ending) for name in _PARAMETERS)
    if document is not None:
        if (number := address.whole(document)) is None:
            raise UserError(
                f"The address asks for the document “{document:.40}”; a document is a whole number from 0 to "
                f"{address.LARGEST:,}."
            )
        return Prompt(document=number)
    if chat is not None:
        return Prompt(turns.unpack(chat))
    if text is not None:
        return Prompt((("text", text),), lead=lead or "")
    kept: Prompt | None = st.session_state.get(f"prompt_kept{ending}")
    return kept


def choose(prompt: Prompt, ending: str = "") -> None:
    """Make this the prompt: in the address, or in the session if it is too long for that."""
    for name in _PARAMETERS:
        st.query_params.pop(name + ending, None)
    for name in ("span", "page"):
        st.query_params.pop(name, None)
    st.session_state.pop(f"prompt_kept{ending}", None)
    if prompt.document is not None:
        st.query_params[f"document{ending}"] = str(prompt.document)
        return
    name, packed = ("text", prompt.turns[0][1]) if prompt.kind == "Text" else ("chat", turns.pack(prompt.turns))
    if turns.fits(packed + prompt.lead):
        st.query_params[name + ending] = packed
        if prompt.lead:
            st.query_params[f"lead{ending}"] = prompt.lead
    else:
        st.session_state[f"prompt_kept{ending}"] = prompt


def is_in_address(ending: str = "") -> bool:
    """Whether whoever gets the address sees the same prompt."""
    return any(address.get(name + ending) is not None for name in _PARAMETERS)


def show(ending: str, documents: int, together: bool = False) -> Prompt | None:
    """Draw the editor of one prompt; what it gives was read by a click, not what is being typed.

    Args:
        ending: of this prompt's parameters.
        documents: stored in the run.
        together: whether it is read by a button of the page's, which calls `read`, and has none of its own.

    Raises:
        UserError: if the address holds one that makes no sense.
    """
    prompt = chosen(ending)
    _seed(prompt, ending)
    kind = st.segmented_control(
        "What to read",
        KINDS,
        required=True,
        key=f"prompt_kind{ending}",
        label_visibility="collapsed",
        help="A chat is put into each model's own template, as in the corpus.",
    )
    if kind == "Chat":
        _chat(ending, together)
    elif kind == "Stored document":
        _document(ending, documents, together)
    else:
        _text(ending, together)
    if prompt is not None and not is_in_address(ending):
        st.caption("This text is too long for the address: it is kept in this session alone.")
    return prompt


def _seed(prompt: Prompt | None, ending: str) -> None:
    """Bring the editor to a prompt that it has not shown yet: one that came with the address."""
    state = st.session_state
    state.setdefault(f"prompt_kind{ending}", "Text")
    if prompt is None or state.get(f"prompt_seen{ending}") == prompt:
        return
    state[f"prompt_seen{ending}"] = prompt
    state[f"prompt_kind{ending}"] = prompt.kind
    if prompt.document is not None:
        state[f"prompt_document{ending}"] = prompt.document
    elif prompt.kind == "Text":
        state[f"prompt_text{ending}"], state[f"prompt_lead{ending}"] = prompt.turns[0][1], prompt.lead
    else:
        _fill(prompt.turns, ending)


def _form(ending: str, together: bool, enter: bool = True) -> AbstractContextManager[object]:
    """What holds the fields of a prompt: a form with a button of its own, unless another button reads it."""
    return st.container() if together else st.form(f"prompt_form{ending}", border=False, enter_to_submit=enter)


def _button(place: Any, ending: str, together: bool) -> None:
    if not together:
        place.form_submit_button(
            "Read", icon=":material/visibility:", type="primary", key=f"read{ending}", on_click=read, args=(ending,)
        )


def _text(ending: str, together: bool) -> None:
    with _form(ending, together):
        st.text_input(
            "Lead-in",
            key=f"prompt_lead{ending}",
            placeholder="none; e.g. “This is what was written there:”",
            help="Both models read it before the text, so that the text's first words count, too: the first tokens of "
            "all never do. What fires on the lead-in itself is left out.",
        )
        st.text_area(
            "Text",
            key=f"prompt_text{ending}",
            height=130,
            label_visibility="collapsed",
            placeholder="Type or paste a text; Ctrl + Enter reads it",
        )
        _button(st, ending, together)


def _document(ending: str, documents: int, together: bool) -> None:
    with _form(ending, together):
        columns = st.columns([1, 3], vertical_alignment="bottom")
        columns[0].number_input(
            "Number",
            min_value=0,
            max_value=max(0, documents - 1),
            step=1,
            key=f"prompt_document{ending}",
            help=f"Of a document of this run's corpus, 0 to {documents - 1:,}; contexts say theirs.",
        )
        _button(columns[1], ending, together)


def _chat(ending: str, together: bool) -> None:
    state = st.session_state
    state.setdefault(f"prompt_turns{ending}", 1)
    button = "button" if together else "form_submit_button"
    with _form(ending, together, enter=False):  # it would press the first cross
        for turn in range(state[f"prompt_turns{ending}"]):
            columns = st.columns([3, 12, 1.4], gap="small")
            columns[0].selectbox("Role", ROLES, key=f"prompt_role{ending}_{turn}", label_visibility="collapsed")
            columns[1].text_area(
                "What is said",
                key=f"prompt_said{ending}_{turn}",
                height=70,
                label_visibility="collapsed",
                placeholder="what is said",
            )
            getattr(columns[2], button)(
                "",
                icon=":material/close:",
                key=f"drop{ending}_{turn}",
                help="Take this turn out",
                on_click=_drop,
                args=(ending, turn),
                disabled=state[f"prompt_turns{ending}"] == 1,
            )
        with st.container(horizontal=True):
            _button(st, ending, together)
            getattr(st, button)("Add a turn", icon=":material/add:", key=f"add{ending}", on_click=_add, args=(ending,))
    _paste(ending)


def _paste(ending: str) -> None:
    with st.expander("Paste messages as JSON", icon=":material/data_object:"):
        st.text_area(
            "Messages",
            key=f"prompt_json{ending}",
            height=100,
            label_visibility="collapsed",
            placeholder='[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]',
        )
        st.button("Take them over", key=f"take{ending}", on_click=_take, args=(ending,))
        if problem := st.session_state.pop(f"prompt_problem{ending}", None):
            st.warning(plain(problem), icon=":material/error:")


def read(*endings: str) -> None:
    """Make what stands in the editors the prompts."""
    for ending in endings:
        _read(ending)


def _read(ending: str) -> None:
    """Make what stands in the editor the prompt."""
    state = st.session_state
    kind = state[f"prompt_kind{ending}"]
    if kind == "Stored document":
        prompt = Prompt(document=int(state[f"prompt_document{ending}"] or 0))
    elif kind == "Chat":
        prompt = Prompt(_typed(ending))
    else:
        prompt = Prompt((("text", state[f"prompt_text{ending}"] or ""),), lead=state[f"prompt_lead{ending}"] or "")
    state[f"prompt_seen{ending}"] = prompt
    choose(prompt, ending)


def _typed(ending: str) -> Turns:
    state = st.session_state
    return tuple(
        (state[f"prompt_role{ending}_{turn}"], state[f"prompt_said{ending}_{turn}"] or "")
        for turn in range(state[f"prompt_turns{ending}"])
    )


def _fill(said: Turns, ending: str) -> None:
    st.session_state[f"prompt_turns{ending}"] = len(said)
    for number, (role, text) in enumerate(said):
        st.session_state[f"prompt_role{ending}_{number}"] = role
        st.session_state[f"prompt_said{ending}_{number}"] = text


def _add(ending: str) -> None:
    """One more turn, said by whoever did not say the last one."""
    typed = _typed(ending)
    _fill((*typed, (turns.next_role(typed), "")), ending)


def _drop(ending: str, turn: int) -> None:
    typed = _typed(ending)
    _fill(typed[:turn] + typed[turn + 1 :], ending)


def _take(ending: str) -> None:
    try:
        said, left_out = corpus.chat_from_json(st.session_state[f"prompt_json{ending}"] or "")
    except UserError as error:
        st.session_state[f"prompt_problem{ending}"] = str(error)
        return
    if not said:
        st.session_state[f"prompt_problem{ending}"] = "There is nothing to read: no message holds any words."
        return
    if left_out:
        st.session_state[f"prompt_problem{ending}"] = f"{sentence(left_out)}."
    _fill(tuple(said), ending)
    _read(ending)
