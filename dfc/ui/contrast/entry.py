"""What the Contrast page is given: two sets of prompts, each one that ships, lines that are typed, or a file."""

from __future__ import annotations

from typing import Literal, get_args

import streamlit as st

from dfc.steering import prompt_sets
from dfc.ui.contrast.work import MOST, Source
from dfc.ui.shell import address, choice, turns

Place = Literal["one", "two"]
PLACES: tuple[Place, ...] = get_args(Place)
_TITLES: dict[Place, str] = {"one": "First set", "two": "Second set"}
_TYPED, _FILE = "typed", "file"
_FIRST: dict[Place, str] = {"one": "harmful", "two": "harmless"}
_CLICKED = "contrast_clicked"
ASKED = "asked"
"""In the address where what the editors hold was asked for, so that whoever gets the address sees it."""
NAMES = (*PLACES, *(f"{place}_text" for place in PLACES), ASKED)
"""Parameters that say what is contrasted."""


def show(place: Place) -> Source | None:
    """Draw the editor of a set, and give what it holds; None where it holds nothing."""
    sets = {
        **{name: name.replace("_", " ") for name in prompt_sets.names()},
        _TYPED: "prompts of my own, typed",
        _FILE: "a file of my own",
    }
    if address.get(place) not in (None, *sets):
        forget()  # what stands in its place was not asked for
    chosen = choice.one_of_many(_TITLES[place], sets, place, _FIRST[place], on_change=forget, written=True)
    if chosen == _FILE:
        file = st.file_uploader(
            f"File of the {_TITLES[place].lower()}",
            key=f"{place}_file",
            label_visibility="collapsed",
            on_change=forget,
            help=f"Whatever a corpus may be: JSONL, CSV, Parquet, plain text, compressed or not. Of more than {MOST} "
            "prompts as many are drawn at random.",
        )
        return None if file is None else Source("file", file.name, file.getvalue())
    if chosen == _TYPED:
        return _typed(place)
    return Source("ships", chosen)


def _typed(place: Place) -> Source | None:
    key = f"{place}_text"
    st.session_state.setdefault(key, address.get(key) or "")
    text = st.text_area(
        f"Prompts of the {_TITLES[place].lower()}",
        key=key,
        height=150,
        label_visibility="collapsed",
        placeholder="One prompt a line, read as plain text; twenty or more are a good beginning",
        on_change=forget,
    )
    return Source("typed", f"{_TITLES[place].lower()}, typed", text) if text.strip() else None


def ask() -> None:
    """Ask for a contrast of what the editors hold; what was typed goes into the address where it is short."""
    for place in PLACES:
        key = f"{place}_text"
        text = st.session_state.get(key) or ""
        if st.session_state.get(place) == _TYPED and turns.fits(text):
            st.query_params[key] = text
        else:
            st.query_params.pop(key, None)
    st.query_params[ASKED] = "1"
    st.session_state[_CLICKED] = True


def was_asked() -> bool:
    """Whether the address asks for a contrast."""
    return address.get(ASKED) is not None


def was_clicked() -> bool:
    """Whether this very run of the page comes of a click that asks."""
    return bool(st.session_state.pop(_CLICKED, False))


def forget() -> None:
    """Something else is chosen: nothing is asked until a click."""
    st.query_params.pop(ASKED, None)


def outside_the_address(sources: tuple[Source, ...]) -> bool:
    """Whether whoever gets the address would miss some of the prompts."""
    return any(
        source.kind == "file" or (source.kind == "typed" and not turns.fits(str(source.content))) for source in sources
    )
