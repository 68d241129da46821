"""Steer: change features in one model or in both while they write, beside the same models left alone.

Everything that touches a model (torch, nnsight) lives in dfc.models and dfc.steering, and is
imported only when something is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import Side, UserError
from dfc.steering import prompt_sets
from dfc.ui import address, steer_edits, steer_history, steer_panes, steer_run, steer_sweeps
from dfc.ui.frame import View, model_names
from dfc.ui.steer_edits import Known
from dfc.ui.steer_run import Request, Texts
from dfc.ui.text import plain, sentence

PROMPT = "I think that"
N = TypeVar("N", int, float)


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    st.html(
        '<div class="dfc-hero"><h1>Steer</h1><p>Change what a model computes while it writes: push it along a '
        "feature, hold the feature at a value, or remove it. The same model, left alone, writes beside it. "
        "Strengths beyond what the model knows end in noise.</p></div>"
    )
    rows = steer_edits.rows(view)
    found = steer_edits.show(view, rows, names)
    if not any(one.feature for one in found) and not any(one.problem for one in found):
        st.info(
            "Choose the feature to steer with: give its number, or open one and click “Steer with it”.",
            icon=":material/explore:",
        )
        st.page_link(
            address.TABLE_PAGE,
            label="Exclusive features",
            icon=":material/table_rows:",
            query_params={"run": view.run.name},
        )
    request = _request(view, found)
    _generate(view, request, names, _ready(found))
    _more(view, request, names, _ready(found))


def _more(view: View, request: Request, names: dict[Side, str], ready: bool) -> None:
    """What is not needed for one text; nothing of it is done until it is asked for."""
    st.html('<div class="dfc-section"></div>')
    chosen = st.segmented_control(
        "More",
        ["Sweep", "History", "Table of edits"],
        key="more",
        bind="query-params",
        label_visibility="collapsed",
    )
    try:
        if chosen == "Sweep":
            steer_sweeps.show(view, request, ready, names)
        elif chosen == "History":
            steer_history.show(view, names)
        elif chosen == "Table of edits":
            steer_history.table(view, request)
    except UserError as error:  # the file of sweeps and trials; the rest of the page is as it was
        st.error(plain(sentence(str(error))), icon=":material/error:")


def _ready(found: Sequence[Known]) -> bool:
    """Whether there is something to be done, and all of it can be."""
    return any(one.feature for one in found) and not any(one.problem for one in found)


def _request(view: View, found: Sequence[Known]) -> Request:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="prompt_row"):
        prompt = st.text_area(
            "Prompt",
            value=PROMPT,
            key="prompt",
            bind="query-params",
            height=90,
            help="What the models go on from.",
            width="stretch",
        )
        with st.popover("From a set", icon=":material/list_alt:", help="Take a prompt from one of the sets."):
            _choose_prompt()
    columns = st.columns([2.9, 1.5, 1.6, 1.5, 1.5, 2.7], gap="medium", vertical_alignment="bottom")
    chat = columns[0].toggle(
        "as a chat message",
        value=True,
        key="chat",
        bind="query-params",
        help="Wrap the prompt in the model's chat template, if it has one; otherwise it is used as it stands.",
    )
    tokens = _number(columns[1], "Tokens", "max_tokens", (1, 1024, 60), help="How many each answer may have at most.")
    temperature = _number(
        columns[2],
        "Temperature",
        "temperature",
        (0.0, 2.0, 0.0),
        step=0.1,
        help="0: always the likeliest token, so that every difference comes from the steering.",
    )
    top_p = _number(
        columns[3],
        "Top-p",
        "top_p",
        (0.05, 1.0, 1.0),
        step=0.05,
        help="Above temperature 0: draw from the likeliest tokens that together have this share of probability.",
    )
    seed = _number(
        columns[4],
        "Seed",
        "seed",
        (0, 2**31 - 1, 0),
        help="Of the random choice, above temperature 0. The same seed gives the same text.",
    )
    both = columns[5].toggle(
        "show both models",
        value=False,
        key="both",
        bind="query-params",
        help="Let the other model write, too, even if no edit is of it.",
    )
    rows = tuple(one.row for one in found if one.row.feature is not None)
    return Request(
        str(view.run.path), rows, prompt or "", chat, int(tokens), float(temperature), float(top_p), int(seed), both
    )


def _number(
    column: DeltaGenerator, label: str, key: str, limits: tuple[N, N, N], step: N | None = None, help: str = ""
) -> N:
    """A number of the address; `limits` are its least, its largest and its usual value."""
    least, largest, usual = limits
    found: N = column.number_input(label, least, largest, usual, step, key=key, bind="query-params", help=help)
    return found


def _choose_prompt() -> None:
    names = st.selectbox("Set", prompt_sets.names(), key="prompt_set", width=420)
    listed = prompt_sets.read(names)
    chosen = st.selectbox("Prompt", listed, key=f"prompt_of_{names}", index=None, placeholder="choose one", width=420)
    st.button("Use it", key="use_prompt", disabled=chosen is None, on_click=_use, args=(chosen,))


def _use(prompt: str) -> None:
    st.session_state["prompt"] = prompt


def _generate(view: View, request: Request, names: dict[Side, str], ready: bool) -> None:
    """The button, and the texts."""
    running = steer_run.take_start() and ready
    with st.container(horizontal=True, vertical_alignment="center"):
        # One button: while a script runs, a browser keeps one that is no longer drawn beside its successor.
        st.button(
            "Stop" if running else "Generate",
            icon=":material/stop:" if running else ":material/play_arrow:",
            key="generate",
            type="primary",
            on_click=None if running else steer_run.start,  # any click stops what is running
            disabled=not ready,
        )
        st.button(
            "Regenerate",
            icon=":material/refresh:",
            key="regenerate",
            on_click=steer_run.start_with_new_seed,
            disabled=not ready or running or request.temperature == 0,
            help="With the next seed. At temperature 0 every seed gives the same text.",
        )
        status = st.empty()
    if problem := steer_run.problem():
        st.error(plain(problem), icon=":material/error:")
    if running:
        _stream(view, request, names, status)
        return
    texts = steer_run.last(view.run)
    if texts is None:
        return
    if texts.request != request:
        status.html('<span class="dfc-small">The texts below were written with other settings.</span>')
    elif not texts.whole:
        status.html('<span class="dfc-small">Stopped; what was not finished is not measured.</span>')
    _at_rest(texts, names)


def _stream(view: View, request: Request, names: dict[Side, str], status: DeltaGenerator) -> None:
    boxes = None
    steer_panes.controls(request)
    with steer_run.problems_kept():
        for texts, message in steer_run.texts(view, request):
            status.html(f'<span class="dfc-small">{escape(message)}</span>')
            boxes = boxes or steer_panes.boxes(texts, names)
            steer_panes.draw(boxes, texts, "text only", None)
    st.rerun()  # so that the button is Generate again


def _at_rest(texts: Texts, names: dict[Side, str]) -> None:
    colour, feature = steer_panes.controls(texts.request)
    steer_panes.draw(steer_panes.boxes(texts, names), texts, colour, feature)
    steer_panes.notices(texts, names)
