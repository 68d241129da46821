"""A text in both tokenisations, coloured, in which a token or a span can be chosen by mouse or keyboard."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dfc.config import Side
from dfc.report.heatmap import Hue, context_html
from dfc.store.reader import Context
from dfc.ui.shell import address

if TYPE_CHECKING:
    from dfc.features.live import Reading

Span = tuple[int, int]
"""First and last pair, both included."""

_HTML = '<div class="dfc-reading" tabindex="0"></div>'
_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".dfc-reading");
  root.innerHTML = data.html;
  root.setAttribute("aria-label", data.label);
  const strips = [...root.querySelectorAll(".dfc-context")].map((strip) =>
    [...strip.querySelectorAll(":scope > span")]);
  const pairOf = new Map();
  strips.forEach((tokens, side) => tokens.forEach((token, place) => pairOf.set(token, data.pairs[side][place])));
  let chosen = data.chosen, start = null;
  const mark = () => pairOf.forEach((pair, token) =>
    token.classList.toggle("chosen", chosen !== null && pair >= chosen[0] && pair <= chosen[1]));
  const choose = (from, to) => { chosen = [Math.min(from, to), Math.max(from, to)]; mark(); };
  const tell = () => setTriggerValue("span", chosen ?? [-1, -1]);
  const under = (event) => {
    const token = event.target.closest?.(".dfc-context > span");
    const pair = token && pairOf.has(token) ? pairOf.get(token) : -1;
    return pair < 0 ? null : pair;
  };
  mark();
  let before = null;
  root.onpointerdown = (event) => {
    const pair = under(event);
    if (pair === null || event.button !== 0) return;
    event.preventDefault();
    root.focus({ preventScroll: true });
    before = chosen;
    start = event.shiftKey && chosen ? chosen[0] : pair;
    choose(start, pair);
  };
  root.onpointermove = (event) => {
    const pair = under(event);
    if (start !== null && pair !== null && event.buttons & 1) choose(start, pair);
  };
  root.onpointerup = () => {
    if (start === null) return;
    start = null;
    if (before && before[0] === chosen[0] && before[1] === chosen[1]) { chosen = null; mark(); }
    tell();
  };
  root.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape" && chosen) { chosen = null; mark(); tell(); }
    else if (step && data.count) {
      event.preventDefault();
      const from = chosen ?? [step > 0 ? -1 : data.count, step > 0 ? -1 : data.count];
      const to = Math.max(0, Math.min(data.count - 1, (step > 0 ? from[1] : from[0]) + step));
      if (event.shiftKey && chosen) choose(step > 0 ? chosen[0] : to, step > 0 ? to : chosen[1]);
      else choose(to, to);
      tell();
    }
  };
}
"""


def show(
    reading: Reading,
    shown: dict[Side, tuple[Context, float, Hue]],
    titles: dict[Side, str],
    notes: dict[Side, list[str]],
    key: str,
    chosen: Span | None,
) -> None:
    """Draw the strips; a choice is written into the address as `span`.

    Args:
        reading: of the text.
        shown: for each model, what its tokens are coloured by: values, the one of the strongest colour, whose colours.
        titles: HTML above each strip.
        notes: said of each token when it is pointed at, plain text.
        key: of the widget, unique on the page.
        chosen: the span that is chosen.
    """
    strips = "".join(
        f'<div class="dfc-small">{titles[side]}</div>'
        f'<div class="dfc-text">{context_html(context, side, top, hue, notes=notes[side])}</div>'
        for side, (context, top, hue) in shown.items()
    )
    content = {
        "html": strips,
        "pairs": [pair_of_token(reading, side).tolist() for side in shown],
        "chosen": list(chosen) if chosen else None,
        "count": reading.pairs,
        "label": "The text's tokens. Arrow keys choose one, with shift several, escape none.",
    }
    _strips()(key=key, data=content, on_span_change=lambda: _change(key))


def pair_of_token(reading: Reading, side: Side) -> np.ndarray:
    """The pair that each token of one model belongs to, (tokens,): one without a partner goes with the next that has.

    -1 for those after the last pair.
    """
    order = np.argsort(reading.index[side], kind="stable")  # a template may put turns into another order
    places = np.searchsorted(reading.index[side][order], np.arange(len(reading.tokens[side])))
    return np.where(places < reading.pairs, np.append(order, -1)[places], -1)


def chosen_span(text: str | None, pairs: int) -> Span | None:
    """The span in the address, `3` or `3-7`; None where there is none or it makes no sense."""
    ends = (text or "").partition("-")
    first, last = address.whole(ends[0]), address.whole(ends[2] or ends[0])
    return (first, last) if first is not None and last is not None and first <= last < pairs else None


def words(reading: Reading, side: Side, span: Span) -> str:
    """What a span says in one model's tokens."""
    mine = np.flatnonzero((places := pair_of_token(reading, side)) >= span[0])
    return "".join(reading.tokens[side][token] for token in mine.tolist() if places[token] <= span[1])


def _change(key: str) -> None:
    span = st.session_state[key].span
    st.query_params.pop("page", None)
    if not span or span[0] < 0:
        st.query_params.pop("span", None)
    else:
        first, last = (int(place) for place in span)
        st.query_params["span"] = str(first) if first == last else f"{first}-{last}"


@st.cache_resource(show_spinner=False)
def _strips():  # type: ignore[no-untyped-def]  # Streamlit names no public type
    return st.components.v2.component("dfc_token_strips", html=_HTML, js=_JS, isolate_styles=False)


def title(side: Side, name: str, meaning: str) -> str:
    """What stands above a strip, as HTML."""
    return f'<b class="dfc-name dfc-{side}">{escape(name)}</b> {meaning}'
