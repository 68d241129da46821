"""How well both models expected a text: its tokens coloured by nats, the figures, and what was likeliest at a token."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.heatmap import Hue, label
from dfc.report.palette import ramp
from dfc.report.words import numeral
from dfc.store.reader import Context
from dfc.ui.prompt.token_strips import Span, pair_of_token
from dfc.ui.shell import choice, gap_key, readers
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import number

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Reading

Colour = Literal["features", "nats", "gap"]
_COLOURS: dict[Colour, str] = {"features": "features", "nats": "nats per token", "gap": "who expects it better"}
_LEAST = 2.0
"""Nats of the strongest colour, at least."""


def choose() -> Colour:
    """What the tokens are coloured by."""
    return choice.one_of(
        "Colours",
        _COLOURS,
        "colours_of",
        help="Nats per token: how surprised each model is by each of its tokens. Who expects it better: by how many "
        "nats the one model is less surprised than the other by the same characters; verdicts and findings rest on "
        "that. Both models are run whole for it.",
    )


def notes(reading: Reading, side: Side, expected: Expected | None) -> list[str]:
    """What is said of each token of a model: why it does not count, and how well it was expected."""
    why = readers.notes(reading, side)
    if expected is None:
        return why
    gaps = dict(zip(reading.index[side].tolist(), expected.gap.tolist(), strict=True))
    said = []
    for token, lost in enumerate(expected.lost[side].tolist()):
        nats = f"{lost:.2f} nats, probability {np.exp(-lost):.2g}" if np.isfinite(lost) else ""
        said.append(" · ".join(filter(None, (why[token], nats, gap_key.words(gaps.get(token, float("nan")))))))
    return said


def shown(reading: Reading, expected: Expected, colour: Colour) -> dict[Side, tuple[Context, float, Hue]]:
    """The strips' values, the one of the strongest colour, and whose colours."""
    if colour == "nats":
        known = np.concatenate([expected.lost[side][np.isfinite(expected.lost[side])] for side in SIDES])
        top = max(_LEAST, float(np.quantile(known, 0.95)) if len(known) else 0.0)
        return {side: (_context(reading, side, expected.lost[side]), top, side) for side in SIDES}
    gap, top = np.append(expected.gap, np.float32(np.nan)), gap_key.strongest(expected.gap)
    return {side: (_context(reading, side, gap[pair_of_token(reading, side)]), top, "between") for side in SIDES}


def _context(reading: Reading, side: Side, values: npt.NDArray[np.float32]) -> Context:
    empty = replace(reading.context(-1), peak_a=-1, peak_b=-1)
    told = [None if value != value else value for value in values.tolist()]
    return replace(empty, activations_a=told) if side == "a" else replace(empty, activations_b=told)


def key(view: View, top: float) -> str:
    """How to read the colours of nats."""
    ramps = "".join(gap_key.ramp_html(ramp(side, view.theme)) for side in SIDES)
    return (
        f'<div class="dfc-key"><span>0</span>{ramps}<span>{number(top)} nats lost on a token; hover for figures</span>'
        "<span>· grey: no figure there</span></div>"
    )


def figures(view: View, expected: Expected) -> None:
    """Nats a character of both models, over the characters that both were given alike."""
    names = model_names(view.config)
    lost = {side: expected.a_character(side) for side in SIDES}
    if not all(np.isfinite(value) for value in lost.values()):
        return
    better: Side = "a" if lost["a"] < lost["b"] else "b"
    both = ", ".join(f"{side_name(side, names)} loses {number(lost[side], 3)}" for side in SIDES)
    characters = int(expected.characters[np.isfinite(expected.gap)].sum())
    st.html(
        f'<div class="dfc-small">{both} nats a character, over {characters:,} characters that both were given alike: '
        f"{escape(names[better])} expects this text better by {number(abs(lost['a'] - lost['b']), 3)}. That is not "
        "measured against matched places, as findings are.</div>"
    )


def likeliest(view: View, reading: Reading, expected: Expected, span: Span) -> None:
    """What each model held likeliest in place of the first token of a span."""
    names = model_names(view.config)
    for column, side in zip(st.columns(2, gap="large"), SIDES, strict=True):
        mine = np.flatnonzero(pair_of_token(reading, side) == span[0])
        if not len(mine):
            continue
        token = int(mine[0])
        said, rows = reading.tokens[side][token], expected.likeliest[side][token]
        bars = "".join(
            f'<span class="dfc-word dfc-token">{escape(label(word[:24]))}</span>'
            f'<span class="dfc-bar"><i style="width:{100 * np.exp(logp):.1f}%"></i></span>'
            f'<span class="dfc-value">{numeral(logp, ".2f")}</span>'
            for word, logp in rows
        )
        column.html(
            f'<div class="dfc-small">{side_name(side, names)}: log-probabilities in place of “{escape(label(said))}”; '
            f'its own is the last</div><div class="dfc-bars dfc-{side}">{bars}</div>'
            if rows
            else f'<div class="dfc-small">{side_name(side, names)}: nothing stands before this token.</div>'
        )
