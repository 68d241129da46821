"""What both models went on with from the same beginnings: those texts first that the other would least have said."""

from __future__ import annotations

from html import escape

import streamlit as st

from dfc.config import SIDES, Side
from dfc.report import words
from dfc.report.findings import UNIT, Finding
from dfc.report.heatmap import called, context_html, visible
from dfc.screen.words_of_own import own_words_in_words
from dfc.store.own_words import Continuation, OwnWords, Seen
from dfc.store.reader import Context
from dfc.ui.shell import choice, data, gap_key, links, paging
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.text import number, plain

ROWS = 10
"""Continuations of each model on a page."""
FINDINGS = 3
"""Findings that are linked to of each."""
_BEGINNING = 160  # characters of it that are shown, the last
_WHOSE = {"both": "side by side", "a": "of A", "b": "of B"}
_LEAD = (
    "Both models went on from the same beginnings, and both read each text. Those come first that the other model "
    f"would least have said: on which it loses most beyond the model that wrote it, in {UNIT}. That is the simplest "
    "way to see what one model does and the other does not, as far as the model does it unasked."
)


def show(view: View) -> None:
    """Draw the page."""
    st.html(f'<div class="dfc-hero"><h1>Own words</h1><p>{_LEAD}</p></div>')
    said, names = OwnWords(view.store.path), model_names(view.config)
    facts = said.facts()
    if not facts:
        st.info(
            f"Nothing was written yet: `python -m dfc screen {view.run.name} --rollouts` lets both models go on from "
            "64 beginnings of the corpus, then reload.",
            icon=":material/forum:",
        )
        return
    for sentence in own_words_in_words(facts):
        st.html(f'<div class="dfc-small">{escape(sentence)}</div>')
    found = {one.feature_id: one for one in data.findings(view.store)}
    whose = choice.one_of("Show", _WHOSE, "whose", label="collapsed", on_change=paging.first)
    sides = SIDES if whose == "both" else tuple(side for side in SIDES if side == whose)
    counts = {side: said.count(side) for side in sides}
    listed = st.container()
    skip = (paging.choose(max(counts.values()), ROWS) - 1) * ROWS
    shown = {side: said.continuations(side, ROWS, skip) for side in sides}
    top = gap_key.strongest(gap for ones in shown.values() for one in ones for gap in one.gaps if gap is not None)
    with listed:
        st.html(gap_key.key(view, top))
        for column, side in zip(st.columns(len(sides), gap="large"), sides, strict=True):
            with column:
                counted = f"{counts[side]:,} {'text' if counts[side] == 1 else 'texts'}"
                st.html(
                    f'<h3 class="dfc-side">{side_name(side, names)} says</h3><div class="dfc-small">{counted}</div>'
                )
                for place, one in enumerate(shown[side], skip + 1):
                    _row(view, one, place, top, found)
                if not shown[side]:
                    st.html('<p class="dfc-muted">None on this page.</p>')
    _seen(view, said.seen([(one.feature_id, one.side) for one in found.values()]), tuple(found.values()), names)


def _row(view: View, one: Continuation, place: int, top: float, found: dict[int, Finding]) -> None:
    """One text: how much each model loses on it, what it went on from, and the findings that fire in it."""
    with st.container(key=f"finding_said_{one.side}_{one.number}"):
        st.html(_text(one, place, top))
        for feature, _ in one.findings[:FINDINGS]:
            title = f"{found[feature].rank}\u2002{plain(called(found[feature].label))}"
            links.feature(view.run.name, feature, title)
        more = len(one.findings) - FINDINGS
        if more > 0:
            st.html(f'<div class="dfc-small">and {more:,} more findings of this model fire in it</div>')


def _text(one: Continuation, place: int, top: float) -> str:
    begun = visible(one.beginning[-_BEGINNING:])
    cut = "…" if len(one.beginning) > _BEGINNING else ""
    how = "answers" if one.chat else "goes on from"
    figures = (
        f"<b>{place}</b>&ensp;the other loses <b>{number(one.beyond)}</b> more: A {number(one.nats_a)}, "
        f"B {number(one.nats_b)} {UNIT}, {one.characters:,} characters"
    )
    said = context_html(_context(one), "a", top, "between", notes=[gap_key.words(gap) for gap in one.gaps])
    return (
        f'<div class="dfc-small">{figures}</div>'
        f'<div class="dfc-small">{how} “{cut}{escape(begun)}” ({escape(visible(one.source))})</div>'
        f'<div class="dfc-text">{said}</div>'
        f'<div class="dfc-small">most telling, by {number(one.passage_nats, 1)} nats: '
        f"<b>{escape(visible(one.passage))}</b></div>"
    )


def _context(one: Continuation) -> Context:
    """A text as the coloured contexts are drawn."""
    return Context(
        feature_id=-1,
        band=0,
        rank=0,
        document=-1,
        source=one.source,
        peak=0.0,
        tokens_a=one.pieces,
        tokens_b=one.pieces,
        activations_a=one.gaps,
        activations_b=one.gaps,
        peak_a=-1,
        peak_b=-1,
        role="",
        start=0,
        stop=0,
    )


def _seen(view: View, seen: dict[int, Seen], found: tuple[Finding, ...], names: dict[Side, str]) -> None:
    """Which findings fire in their own model's texts, those first that fire in the largest share beyond the other's."""
    if not seen:
        return
    section(
        "Findings in their model's own words",
        "Texts in which the best feature fires, however weakly: of its own model, and of the other one, beside which "
        "alone the first says anything.",
    )
    rows = sorted((one for one in found if one.feature_id in seen), key=lambda one: -_beyond(seen[one.feature_id]))
    for one in rows[:ROWS]:
        title = f"{one.rank} of {names[one.side]}\u2002{called(one.label)}"
        with st.container(key=f"seen_{one.feature_id}"):
            links.feature(view.run.name, one.feature_id, plain(title))
            st.html(f'<div class="dfc-small">{escape(words.in_own_words(seen[one.feature_id], one.side, names))}</div>')
    if len(rows) > ROWS:
        st.caption(f"{ROWS} of {len(rows):,}; `python -m dfc screen {plain(view.run.name)} --rollouts` prints all.")


def _beyond(seen: Seen) -> float:
    """By how much larger the share of its own model's texts is."""
    return seen.own / max(1, seen.of_own) - seen.other / max(1, seen.of_other)
