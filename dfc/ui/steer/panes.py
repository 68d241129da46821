"""The texts of the Steer page side by side, each token coloured by what was measured on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
import streamlit as st

from dfc import corpus
from dfc.config import Partition, Side
from dfc.report.heatmap import token_html, visible
from dfc.report.palette import LEVELS, heat_level
from dfc.report.words import numeral
from dfc.ui.shell import choice
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import plain
from dfc.ui.steer import edit_address
from dfc.ui.steer.writing import Doing, Pane, Request, Texts

Colour = Literal["text", "activation", "odds"]
_COLOURS: dict[Colour, str] = {"text": "text only", "activation": "activation", "odds": "changed odds"}
_RANDOM = "along a random direction of equal norm"
Buttons = Callable[[Texts, Side, int], None]
LEAST_KL = 1.0
"""Nats of the strongest colour, at least: a text that hardly changes stays pale."""


@dataclass(frozen=True)
class Token:
    """One piece of a text with what was measured on its tokens: the largest activation and KL, joint probabilities."""

    text: str
    baseline: float
    steered: float
    kl: float
    activation: float | None


def controls(request: Request) -> tuple[Colour, int | None]:
    """Choose what the colours mean; the feature, where they mean its activation."""
    features = list(dict.fromkeys(row.feature for row in request.rows if row.feature is not None))
    feature = features[0] if features else None
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        colour = choice.one_of(
            "Colours",
            _COLOURS,
            "colours",
            "activation",
            help="Activation: where the feature fires in these texts. Changed odds: how far the edits moved what the "
            "model would say next (KL divergence, steered from left alone).",
            label="collapsed",
        )
        if colour == "activation" and len(features) > 1:
            feature = st.selectbox(
                "Feature to colour by", features, key="colour_feature", width=140, label_visibility="collapsed"
            )
        if colour != "text":
            st.html(_key(request, colour, feature), width="content")
    return colour, feature


def show(texts: Texts, names: dict[Side, str], colour: Colour, feature: int | None, buttons: Buttons) -> None:
    """Draw all texts, those of one model side by side under their headings.

    Args:
        texts: as far as they came.
        names: of the models.
        colour, feature: as `controls` gives them.
        buttons: draws what can be done with one text.
    """
    for side, panes in texts.panes.items():
        name = side_name(side, names)
        headings = [f"{name}, left alone", f"{name}, steered: {escape(_edits(texts, side))}", f"{name}, {_RANDOM}"]
        columns = st.columns(max(2, len(panes)), gap="medium")
        for row, (column, pane) in enumerate(zip(columns, panes, strict=False)):
            with column:
                with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"pane_{side}_{row}"):
                    st.html(f'<div class="dfc-small">{headings[row]}</div>', width="stretch")
                    buttons(texts, side, row)
                st.html(pane_html(pane, texts, side, bool(row), colour, feature))
        if len(panes) == 1:
            columns[1].html(
                f'<div class="dfc-small">{headings[1]}</div><div class="dfc-answer dfc-muted">No edit is of this '
                "model. Choose it in the list above, or, for a shared feature, choose both.</div>"
            )


def pane_html(pane: Pane, texts: Texts, side: Side, on: bool, colour: Colour, feature: int | None) -> str:
    """One text as HTML, escaped, with what was measured under it."""
    classes = f"dfc-answer dfc-{side}{' dfc-on' if on else ''}"
    scales = texts.scales.get(side, {})
    if not pane.text and (pane.found is None or colour == "text" or not pane.tokens):
        body = f'<span class="dfc-muted">{escape(_doing(pane) if pane.writing else "…")}</span>'
    elif pane.found is None or colour == "text" or not pane.tokens:
        body = _apart(pane.text, [(text, escape(text)) for text, _ in pane.pieces])
    else:
        place = list(scales).index(feature) if feature in scales else None
        if colour == "odds":
            hue: Partition = "shared"
            top = max([LEAST_KL, *(float(p.found.kl.max(initial=0)) for p in texts.panes[side] if p.found is not None)])
        else:
            hue, top = side, scales.get(feature or 0, 1.0)
        spans = [(token.text, _span(token, colour, top)) for token in tokens(pane, place)]
        body = f'<div class="dfc-context dfc-{hue}">{_apart(pane.text, spans)}</div>'
    mute = colour == "activation" and silent(texts, side, feature, pane)
    return f'<div class="{classes}">{body}</div>{_figures(pane, texts, on, feature if mute else None)}'


def _apart(text: str, pieces: list[tuple[str, str]]) -> str:
    """What is thought and what is answered, each in a block; pieces are parts of the text, and their HTML."""
    sections = corpus.sections(text)
    if not any(is_thought for is_thought, _ in sections):
        return "".join(shown for _, shown in pieces)
    blocks, left, at = list[str](), list(pieces), 0
    for is_thought, end in sections:
        block = ""
        while left and (at < end or end == len(text)):
            part, shown = left.pop(0)
            block, at = block + shown, at + len(part)
        kind, title = ("thoughts", "thinks") if is_thought else ("said", "answers")
        blocks.append(f'<div class="dfc-{kind}"><div class="dfc-small">{title}</div>{block}</div>')
    return "".join(blocks)


def tokens(pane: Pane, place: int | None) -> Iterator[Token]:
    """The pieces of a measured text; `place` is the feature's in the analysis."""
    analysis, at = pane.found, 0
    assert analysis is not None  # only measured texts are coloured
    for text, size in pane.pieces:
        part = slice(at, at + size)
        at += size
        if size:
            yield Token(
                text,
                float(np.prod(analysis.baseline[part])),
                float(np.prod(analysis.steered[part])),
                float(analysis.kl[part].max()),
                None if place is None else float(analysis.activations[place, part].max()),
            )


def _key(request: Request, colour: Colour, feature: int | None) -> str:
    """How to read the colours."""
    if colour == "odds":
        words, hues = "how far the odds of each token were moved; hover for both", ["shared"]
    else:
        words, hues = f"activation of feature {feature}; hover for figures", list(request.edited)
    ramps = "".join(
        '<span class="dfc-ramp">'
        + "".join(f'<i style="background:var(--dfc-{hue}-{level})"></i>' for level in range(1, LEVELS + 1))
        + "</span>"
        for hue in hues
    )
    return f'<div class="dfc-key">{ramps}<span>{words}</span></div>'


def _span(token: Token, colour: Colour, top: float) -> str:
    level = heat_level(token.kl if colour == "odds" else token.activation, top)
    hover = (
        f"{visible(token.text)}  {_chance(token.baseline)} left alone, {_chance(token.steered)} steered; "
        f"log-probabilities {_log(token.baseline)} and {_log(token.steered)}"
    )
    if token.activation is not None:
        hover += f", activation {token.activation:.3g}"
    hover += f", KL {token.kl:.2g}"
    attribute = f' class="h{level}"' if level else ""
    return f'<span{attribute} title="{escape(hover)}">{token_html(token.text)}</span>' if token.text else ""


def _chance(probability: float) -> str:
    if 0 < probability < 0.0005:
        return f"{probability:.0e}"
    return f"{probability:.1%}"


def _log(probability: float) -> str:
    return numeral(math.log(probability), ".2f") if probability > 0 else "−∞"


def _figures(pane: Pane, texts: Texts, on: bool, mute: int | None) -> str:
    """What is being done, or what was measured, below the text; `mute` is a feature by which nothing is coloured."""
    words = ["stopped, not measured"] if pane.stopped else [_doing(pane)] if pane.writing and pane.text else []
    if pane.tokens:
        words.append(f"{len(pane.tokens)} token{'s' if len(pane.tokens) > 1 else ''}")
    if pane.seed != texts.request.sampling.seed:
        words.append(f"seed {pane.seed}")
    if pane.found is not None and pane.tokens:
        perplexity = f"perplexity {pane.found.perplexity:,.3g}"
        if on:
            perplexity += f" to the model left alone, {pane.found.steered_perplexity:,.3g} to the steered one"
        words += [perplexity, *([f"mean KL {pane.found.kl.mean():.2g}"] if on else [])]
    if mute is not None:
        words.append(f"feature {mute} never fires on this text")
    return f'<div class="dfc-small">{escape(" · ".join(words))}</div>'


def _doing(pane: Pane) -> str:
    """What is being done for a text, in words."""
    words = {
        Doing.NOTHING: "",
        Doing.PREPARING: "Getting ready …",
        Doing.LOADING: f"Loading {pane.model} …",
        Doing.READING: "Reading the prompt …",
        Doing.WAITING: "The model is writing something else; waiting …",
        Doing.WRITING: "Writing …",
        Doing.ENDED: "Waiting for the other text …",
        Doing.MEASURING: "Measuring what the edits did …",
    }
    return words[pane.doing]


def _edits(texts: Texts, side: Side) -> str:
    """What is done to a model, in words."""
    rows = (row for row in texts.request.rows if row.feature is not None and side in row.sides)
    return "; ".join(map(edit_address.words, rows)) or "not at all"


def silent(texts: Texts, side: Side, feature: int | None, *panes: Pane) -> bool:
    """Whether a feature was read on texts of a model, by default on all, and fires on none of their tokens."""
    scales = list(texts.scales.get(side, {}))
    found = [pane.found for pane in panes or texts.panes[side] if pane.found is not None and pane.tokens]
    if feature not in scales or not found:
        return False
    return not any((one.activations[scales.index(feature)] > 0).any() for one in found)


def notices(texts: Texts, names: dict[Side, str], colour: Colour, feature: int | None) -> None:
    """That nothing is coloured, and what the self-check says of each model's steered text."""
    for side in texts.panes:
        if colour == "activation" and silent(texts, side, feature):
            st.html(
                f'<div class="dfc-small">No token of {escape(names[side])} has a colour, since feature {feature} fires '
                "on none: what was added is not read. “Changed odds” shows what it did.</div>"
            )
    for side in texts.panes:
        for warning in texts.warnings.get(side, ()):
            st.warning(plain(f"{names[side]}: {warning}."), icon=":material/info:")
    if all(
        pane.found is not None and not pane.tokens and not pane.stopped
        for panes in texts.panes.values()
        for pane in panes
    ):
        st.info("The models ended their answers at once.", icon=":material/info:")
