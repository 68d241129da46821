"""Steer: add a feature's vector to one model while it writes, beside the same model left alone.

Everything that touches a model (torch, nnsight) lives in dfc.models and dfc.steering, and is
imported only when something is generated.
"""

from __future__ import annotations

from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import Side
from dfc.report.heatmap import context_html, excerpt
from dfc.store.reader import FeatureRow
from dfc.ui import address, steer_run
from dfc.ui.frame import View, model_names
from dfc.ui.steer_run import Answers, Request
from dfc.ui.style import partition_badge, side_name
from dfc.ui.text import chips, number

STRENGTH = 20.0


def show(view: View) -> None:
    """Draw the page."""
    names = model_names(view.config)
    st.html(
        "<div class=\"dfc-hero\"><h1>Steer</h1><p>Add a feature's direction to one model's stream at every token and "
        "read what changes. The same model, left alone, writes beside it. A feature that means something moves the "
        "text toward it; strengths beyond what the model knows end in noise.</p></div>"
    )
    st.session_state["steer_feature"] = address.feature_id()
    left, right = st.columns([2, 5], gap="large", vertical_alignment="top")
    with left:
        st.number_input(
            "Feature",
            min_value=0,
            step=1,
            key="steer_feature",
            value=None,
            placeholder="number",
            on_change=_change_feature,
            help="The number of a feature in this run's dictionary.",
        )
    identity = address.feature_id()
    if identity is None:
        with right:
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
        return
    feature = view.store.feature(identity)
    with left:
        side = _side(feature)
    with right:
        _summary(view, feature, names)
    obstacle = _obstacle(feature, side)
    if obstacle:
        st.warning(obstacle, icon=":material/block:")
        return
    _generate(view, _request(view, feature, side), names)


def _change_feature() -> None:
    chosen = st.session_state["steer_feature"]
    if chosen is None:
        st.query_params.pop("feature", None)
    else:
        st.query_params["feature"] = str(int(chosen))


def _side(feature: FeatureRow) -> Side:
    chosen = st.segmented_control(
        "Model",
        ["A", "B"],
        default="B" if feature.partition == "b" else "A",
        required=True,
        key="side",
        bind="query-params",
        help="Which model is steered. It must have a vector for the feature.",
    )
    return "b" if chosen == "B" else "a"


def _obstacle(feature: FeatureRow, side: Side) -> str | None:
    """Why this model cannot be steered with this feature."""
    if feature.max <= 0:
        return (
            f"Feature {feature.feature_id} is dead: it never fired on the corpus, so there is no activation to measure "
            "a strength by. Choose one that is alive."
        )
    if (feature.norm_a if side == "a" else feature.norm_b) > 0:
        return None
    other: Side = "b" if side == "a" else "a"
    return (
        f"Feature {feature.feature_id} is exclusive to {other.upper()}: the dictionary holds no vector for it in "
        f"{side.upper()}, so there is nothing to add to that model's stream. Choose model {other.upper()}."
    )


def _summary(view: View, feature: FeatureRow, names: dict[Side, str]) -> None:
    """What the feature is, so that the answer can be judged."""
    side: Side = "b" if feature.partition == "b" else "a"
    context = view.store.strongest_contexts([feature.feature_id]).get(feature.feature_id)
    text = context_html(excerpt(context, side, 160, 80), side, feature.max, feature.partition) if context else ""
    st.html(
        f'<div class="dfc-{feature.partition}"><div>{partition_badge(feature.partition, names)}'
        f'<span class="dfc-small">&ensp;strongest activation {number(feature.max)}</span></div>'
        f'<div style="margin:.5rem 0 .2rem">{chips(feature.peak_tokens)}</div><div class="dfc-text">{text}</div></div>'
    )
    st.page_link(
        address.FEATURE_PAGE,
        label=f"Open feature {feature.feature_id}",
        icon=":material/arrow_outward:",
        icon_position="right",
        query_params=address.feature_params(view.run.name, feature.feature_id),
    )


def _request(view: View, feature: FeatureRow, side: Side) -> Request:
    prompt = st.text_area(
        "Prompt",
        value="I think that",
        key="prompt",
        bind="query-params",
        height=90,
        help="What the model goes on from.",
    )
    columns = st.columns([5, 2, 2, 2], gap="medium", vertical_alignment="bottom")
    strength = columns[0].slider(
        "Strength",
        -STRENGTH,
        STRENGTH,
        2.0,
        0.5,
        key="strength",
        bind="query-params",
        help="In multiples of the feature's strongest activation on the corpus. 0 changes nothing, negative pushes "
        "away. 1 to 4 is usual; far beyond, the model falls apart.",
    )
    tokens = columns[1].number_input(
        "Tokens at most", 1, 1024, 60, key="max_tokens", bind="query-params", help="How long each answer may get."
    )
    temperature = columns[2].number_input(
        "Temperature",
        0.0,
        2.0,
        0.0,
        0.1,
        key="temperature",
        bind="query-params",
        help="0: always the likeliest token, so that every difference comes from the steering.",
    )
    seed = columns[3].number_input(
        "Seed", 0, 2**31 - 1, 0, key="seed", bind="query-params", help="Of the random choice, above temperature 0."
    )
    chat = st.toggle(
        "as a chat message",
        value=True,
        key="chat",
        bind="query-params",
        help="Wrap the prompt in the model's chat template, if it has one; otherwise it is used as it stands.",
    )
    return Request(
        str(view.run.path),
        side,
        feature.feature_id,
        prompt or "",
        float(strength),
        int(tokens),
        float(temperature),
        int(seed),
        chat,
    )


def _generate(view: View, request: Request, names: dict[Side, str]) -> None:
    """The button, and both answers."""
    running = steer_run.take_start()
    with st.container(horizontal=True, vertical_alignment="center"):
        if running:
            st.button("Stop", icon=":material/stop:", key="stop", type="primary")
        else:
            st.button(
                "Generate", icon=":material/play_arrow:", key="generate", type="primary", on_click=steer_run.start
            )
        status = st.empty()
    steer_run.raise_problem()
    columns = st.columns(2, gap="medium")
    name = side_name(request.side, names)
    columns[0].html(f'<div class="dfc-small">{name}, left alone</div>')
    steered = f"steered by {request.strength:+g} × feature {request.feature}"
    columns[1].html(f'<div class="dfc-small">{name}, {steered}</div>')
    boxes = [column.empty() for column in columns]
    if not running:
        _draw(boxes, steer_run.last_answers(request), request.side)
        return
    with steer_run.problems_kept():
        for answers, message in steer_run.answers(view, request):
            status.html(f'<span class="dfc-small">{escape(message)}</span>')
            _draw(boxes, answers, request.side)
    st.rerun()  # so that the button is Generate again


def _draw(boxes: list[DeltaGenerator], answers: Answers, side: Side) -> None:
    for box, text, on in zip(boxes, answers, (False, True), strict=True):
        box.html(_answer(text, side, on))


def _answer(text: str | None, side: Side, on: bool) -> str:
    classes = f"dfc-answer dfc-{side}{' dfc-on' if on else ''}"
    body = escape(text) if text else '<span class="dfc-muted">…</span>' if text == "" else ""
    return f'<div class="{classes}">{body}</div>'
