"""“Propose a strength”: a quick probe of a ladder of strengths for one edit, which sets its slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.heatmap import visible
from dfc.requests import Prompt
from dfc.runs import Run
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import failure, plain
from dfc.ui.shell.turns import as_corpus
from dfc.ui.steer import conversation, edit_address, writing
from dfc.ui.steer.edit_address import Row

if TYPE_CHECKING:
    from dfc.steering.strength import Proposal

_ASKED, _FOUND, _PROBLEM = "propose_asked", "propose_found", "propose_problem"


@dataclass(frozen=True)
class _Kept:
    """What was probed: the row without its strength, and the ladder of each model it steers."""

    run: str
    row: Row
    proposals: dict[Side, Proposal]


def button(view: View, place: int) -> None:
    """The button of one row; while strengths are tried, a click on it, or on anything above the texts, ends that."""
    probing, texts = st.session_state.get(_ASKED) == (view.run, place), writing.last(view.run)
    st.button(
        "Stop" if probing else "Propose a strength",
        icon=":material/stop:" if probing else ":material/straighten:",
        key=f"propose_{place}",
        type="tertiary",
        on_click=None if probing else _ask,
        args=None if probing else (view.run, place),
        disabled=texts is not None and texts.writing,  # it would wait for their model, and they for it to be drawn
        help="Lets the model write at a ladder of strengths and sets the largest at which its text holds together.",
    )


def show(view: View, listed: Sequence[Row], place: int, names: dict[Side, str]) -> None:
    """Probe if it was asked for, and show what was found for this row."""
    if st.session_state.get(_ASKED) == (view.run, place):
        del st.session_state[_ASKED]
        _probe(view, listed, place)
        st.rerun()  # so that the button offers it again
    if problem := st.session_state.pop(f"{_PROBLEM}_{place}", None):
        st.warning(plain(problem), icon=":material/block:")
    kept: _Kept | None = st.session_state.get(_FOUND)
    if kept is None or kept.run != view.run.name or kept.row != _without_strength(listed[place]):
        return
    said = ", ".join(
        f"none of these in {names[side]}" if proposal.strength is None else f"{proposal.strength:g} in {names[side]}"
        for side, proposal in kept.proposals.items()
    )
    with st.expander(f"Proposed strength: {plain(said)}", expanded=True, icon=":material/straighten:"):
        st.html(_ladders(kept, names))


def _ask(run: Run, place: int) -> None:
    st.session_state[_ASKED] = run, place


def _probe(view: View, listed: Sequence[Row], place: int) -> None:
    row, bar = listed[place], st.empty()
    chat = bool(st.session_state.get("chat", True))
    try:
        from dfc.steering.loading import steerable
        from dfc.steering.strength import propose_strength

        typed, earlier = str(st.session_state.get("prompt") or ""), conversation.earlier() if chat else ()
        prompt = Prompt(typed, chat, as_corpus(earlier))
        proposals: dict[Side, Proposal] = {}
        for edit in row.edits():
            settings = view.config.models.side(edit.side)
            title = plain(settings.title)
            bar.progress(0.0, f"Loading {title} …")
            model = steerable(settings)

            def tell(share: float, waiting: bool, title: str = title) -> None:
                words = f"{title} is writing something else; waiting …" if waiting else f"Trying strengths in {title} …"
                bar.progress(share, words)  # where a click ends the script, and with it the probe

            proposals[edit.side] = propose_strength(view.run, model, edit, prompt, tell=tell)
    except Exception as error:  # not a click, which is none
        st.session_state[f"{_PROBLEM}_{place}"] = failure(error, "The strengths could not be tried")
        return
    st.session_state[_FOUND] = _Kept(view.run.name, _without_strength(row), proposals)
    held = [one.strength for one in proposals.values() if one.strength is not None]
    if held:
        edit_address.put(listed, place, replace(row, strength=min(held)))


def _without_strength(row: Row) -> Row:
    return replace(row, strength=0.0)


def _ladders(kept: _Kept, names: dict[Side, str]) -> str:
    parts = []
    for side in (side for side in SIDES if side in kept.proposals):
        proposal = kept.proposals[side]
        rows = "".join(
            f"<tr><td>{step.strength:g}</td><td>{step.perplexity:,.3g}</td>"
            f"<td>{'holds together' if step.coherent else 'falls apart'}</td>"
            f'<td class="dfc-words">{escape(visible(step.text[:160]))}</td></tr>'
            for step in proposal.steps
        )
        parts.append(
            f'<div class="dfc-small">{side_name(side, names)}: perplexity of its own text {proposal.baseline:,.3g}, of '
            f"steered texts under the same model left alone:</div>"
            f'<table class="dfc-table dfc-ladder"><thead><tr><th>strength</th><th>perplexity</th><th></th>'
            f"<th>text</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    return "".join(parts)
