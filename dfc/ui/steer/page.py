"""Steer: change features in one model or in both while they write, beside the same models left alone.

Everything that touches a model (torch, nnsight) lives in dfc.models and dfc.steering, and is
imported only when something is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import Side, UserError
from dfc.requests import Prompt, Sampling
from dfc.steering import prompt_sets
from dfc.ui.shell import address, choice
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.text import plain, sentence
from dfc.ui.shell.turns import Turns, as_corpus
from dfc.ui.steer import conversation, edits, history, panes, sweeps, writing
from dfc.ui.steer.edits import Known
from dfc.ui.steer.writing import Request, State, Texts

PROMPT = "I think that"
_MORE = {"sweep": "Sweep", "history": "History", "table": "Table of edits"}
_LOOK = 0.2
"""Seconds between two looks at texts that are being written."""
N = TypeVar("N", int, float)


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    st.html(
        '<div class="dfc-hero"><h1>Steer</h1><p>Change what a model computes while it writes: push it along a '
        "feature, hold the feature at a value, or remove it. The same model, left alone, writes beside it. "
        "Strengths beyond what the model knows end in noise.</p></div>"
    )
    rows = edits.rows(view)
    known_rows = edits.show(view, rows, names)
    if not any(one.feature for one in known_rows) and not any(one.problem for one in known_rows):
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
    request = _request(view, known_rows)
    _generate(view, request, names, _ready(known_rows))
    _more(view, request, names, _ready(known_rows))


def _more(view: View, request: Request, names: dict[Side, str], ready: bool) -> None:
    """What is not needed for one text; nothing of it is done until it is asked for."""
    st.html('<div class="dfc-section"></div>')
    chosen = choice.one_or_none_of("More", _MORE, "more", label="collapsed")
    try:
        if chosen == "sweep":
            sweeps.show(view, request, ready, names)
        elif chosen == "history":
            history.show(view, names)
        elif chosen == "table":
            history.table(view, request)
    except UserError as error:  # the file of sweeps and trials; the rest of the page is as it was
        st.error(plain(sentence(str(error))), icon=":material/error:")


def _ready(known_rows: Sequence[Known]) -> bool:
    """Whether there is something to be done, and all of it can be."""
    return any(one.feature for one in known_rows) and not any(one.problem for one in known_rows)


def _request(view: View, known_rows: Sequence[Known]) -> Request:
    before = st.container(gap="xsmall")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="prompt_row"):
        prompt = st.text_area(
            "Prompt",
            value=PROMPT,
            key="prompt",
            bind="query-params",
            height=90,
            help="What the models go on from. Special tokens that are spelled out in it are read as text, as in the "
            "corpus: they end no turn. Where there are some, a note under the texts names one.",
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
    turns: Turns = ()
    if chat:
        with before:
            turns = conversation.show()
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
    control = columns[5].toggle(
        "random direction",
        value=False,
        key="control",
        bind="query-params",
        help="A third text beside each steered one, pushed along random directions of equal norm.",
    )
    rows = tuple(one.row for one in known_rows if one.row.feature is not None)
    asked = Prompt(prompt or "", chat, as_corpus(turns))
    return Request(str(view.run.path), rows, asked, Sampling(tokens, temperature, top_p, seed), both, control)


def _number(
    column: DeltaGenerator, label: str, key: str, limits: tuple[N, N, N], step: N | None = None, help: str = ""
) -> N:
    """A number of the address; `limits` are its least, its largest and its usual value."""
    least, largest, usual = limits
    address.within(key, least, largest)
    value: N = column.number_input(label, least, largest, usual, step, key=key, bind="query-params", help=help)
    return value


def _choose_prompt() -> None:
    names = st.selectbox("Set", prompt_sets.names(), key="prompt_set", width=420)
    listed = prompt_sets.read(names)
    chosen = st.selectbox("Prompt", listed, key=f"prompt_of_{names}", index=None, placeholder="choose one", width=420)
    st.button("Use it", key="use_prompt", disabled=chosen is None, on_click=_use, args=(chosen,))


def _use(prompt: str) -> None:
    st.session_state["prompt"] = prompt


def _generate(view: View, request: Request, names: dict[Side, str], ready: bool) -> None:
    """The buttons, and the texts."""
    if writing.asked(view.run) and ready:
        writing.start(view, request)
        st.rerun()  # what stands above is drawn by whether texts are being written, too
    texts = writing.last(view.run)
    stoppable = texts is not None and texts.stoppable
    with st.container(horizontal=True, vertical_alignment="center"):
        # One button: while a script runs, a browser keeps one that is no longer drawn beside its successor.
        st.button(
            "Stop" if stoppable else "Generate",
            icon=":material/stop:" if stoppable else ":material/play_arrow:",
            key="generate",
            type="primary",
            on_click=texts.stop if texts is not None and stoppable else writing.ask,
            args=None if stoppable else (view.run,),
            disabled=not ready and not stoppable,
        )
        st.button(
            "Regenerate",
            icon=":material/refresh:",
            key="regenerate",
            on_click=writing.ask_with_new_seed,
            args=(view.run,),
            disabled=not ready or stoppable or request.sampling.temperature == 0,
            help="All texts, with the next seed. At temperature 0 every seed gives the same text.",
        )
        if texts is not None and texts.request != request:
            st.html('<span class="dfc-small">The texts below were written with other settings.</span>')
    if texts is not None:
        drawn = texts.state
        every = _LOOK if drawn.writing else None
        st.fragment(_texts, run_every=every)(view, texts, names, texts.request == request, drawn)


def _texts(view: View, texts: Texts, names: dict[Side, str], current: bool, drawn: State) -> None:
    """The texts as far as they came; asks for the whole page, drawn with another state, when that has changed."""
    state = texts.state
    for side in texts.panes:
        if problem := texts.problems.get(side):
            st.error(plain(problem), icon=":material/error:")
    if state.writing or not texts.problems or texts.begun:
        colour, feature = panes.controls(texts.request)
        panes.show(texts, names, colour, feature, partial(_buttons, view, current))
        panes.notices(texts, names, colour, feature)
    if state != drawn:
        st.rerun()


def _buttons(view: View, current: bool, texts: Texts, side: Side, row: int) -> None:
    """What can be done with one text: stop it, or have it written anew, or go on from it."""
    pane, request = texts.panes[side][row], texts.request
    replied = False
    if request.prompt.chat and pane.text and not pane.writing:
        replied = st.button(
            "Reply",
            icon=":material/reply:",
            key=f"reply_{side}_{row}",
            type="tertiary",
            on_click=conversation.reply,
            args=(request.prompt, pane.text),
            help="Go on with the chat: the prompt and this answer become earlier turns of it, for all texts alike.",
        )
    if pane.writing:
        st.button(
            "Stop",
            icon=":material/stop:",
            key=f"stop_{side}_{row}",
            type="tertiary",
            on_click=pane.stop,
            disabled=not pane.stoppable,
            help="This text alone ends here; the others go on.",
        )
    else:
        st.button(
            "Regenerate",
            icon=":material/refresh:",
            key=f"again_{side}_{row}",
            type="tertiary",
            on_click=writing.again,
            args=(view, texts, side, row),
            disabled=not (current and (pane.stopped or request.sampling.temperature > 0)),
            help="This text alone, with its next seed. At temperature 0 every seed gives the same text.",
        )
    if replied:
        st.rerun()  # the turns stand above, outside of what is drawn anew with the texts
