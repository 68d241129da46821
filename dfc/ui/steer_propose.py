"""“Propose a strength”: a quick probe of a ladder of strengths for one edit, which sets its slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dfc.config import SIDES, Side, UserError
from dfc.report.heatmap import visible
from dfc.ui import steer_address
from dfc.ui.frame import View
from dfc.ui.steer_address import Row
from dfc.ui.style import side_name
from dfc.ui.text import plain, sentence

if TYPE_CHECKING:
    from dfc.steering.strength import Proposal

_ASKED, _FOUND = "propose_asked", "propose_found"


@dataclass(frozen=True)
class _Kept:
    """What was probed: the row without its strength, and the ladder of each model it steers."""

    run: str
    row: Row
    proposals: dict[Side, Proposal]


def button(place: int) -> None:
    """The button of one row."""
    st.button(
        "Propose a strength",
        icon=":material/straighten:",
        key=f"propose_{place}",
        type="tertiary",
        on_click=_ask,
        args=(place,),
        help="Lets the model write at a ladder of strengths and sets the largest at which its text holds together.",
    )


def show(view: View, listed: Sequence[Row], place: int, names: dict[Side, str]) -> None:
    """Probe if it was asked for, and show what was found for this row."""
    if st.session_state.get(_ASKED) == place:
        del st.session_state[_ASKED]
        _probe(view, listed, place)
    kept: _Kept | None = st.session_state.get(_FOUND)
    if kept is None or kept.run != view.run.name or kept.row != _without_strength(listed[place]):
        return
    said = ", ".join(
        f"none of these in {names[side]}" if found.strength is None else f"{found.strength:g} in {names[side]}"
        for side, found in kept.proposals.items()
    )
    with st.expander(f"Proposed strength: {said}", expanded=True, icon=":material/straighten:"):
        st.html(_ladders(kept, names))


def _ask(place: int) -> None:
    st.session_state[_ASKED] = place


def _probe(view: View, listed: Sequence[Row], place: int) -> None:
    row = listed[place]
    prompt = str(st.session_state.get("prompt") or "")
    chat = bool(st.session_state.get("chat", True))
    try:
        with st.spinner("Trying strengths; a model that is not loaded yet takes a moment …"):
            from dfc.steering.loading import steerable
            from dfc.steering.strength import propose_strength

            found: dict[Side, Proposal] = {}
            for edit in row.edits():
                model = steerable(view.config.models.side(edit.side))
                found[edit.side] = propose_strength(view.run, model, edit, prompt, chat=chat and model.is_chat)
    except UserError as error:
        st.warning(plain(sentence(str(error))), icon=":material/block:")
        return
    st.session_state[_FOUND] = _Kept(view.run.name, _without_strength(row), found)
    held = [one.strength for one in found.values() if one.strength is not None]
    if held:
        steer_address.put(listed, place, replace(row, strength=min(held)))
        st.rerun()


def _without_strength(row: Row) -> Row:
    return replace(row, strength=0.0)


def _ladders(kept: _Kept, names: dict[Side, str]) -> str:
    parts = []
    for side in (side for side in SIDES if side in kept.proposals):
        found = kept.proposals[side]
        rows = "".join(
            f"<tr><td>{step.strength:g}</td><td>{step.perplexity:,.3g}</td>"
            f"<td>{'holds together' if step.coherent else 'falls apart'}</td>"
            f'<td class="dfc-words">{escape(visible(step.text[:160]))}</td></tr>'
            for step in found.steps
        )
        parts.append(
            f'<div class="dfc-small">{side_name(side, names)}: perplexity of its own text {found.baseline:,.3g}, of '
            f"steered texts under the same model left alone:</div>"
            f'<table class="dfc-table dfc-ladder"><thead><tr><th>strength</th><th>perplexity</th><th></th>'
            f"<th>text</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    return "".join(parts)
