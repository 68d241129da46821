"""Prompt: what fires on a text of one's own, token by token, in which model; and on one text but not on another."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc.config import SIDES, NotLoadedError, UserError
from dfc.features.fired import fired
from dfc.report.heatmap import label
from dfc.store.reader import FeatureRow
from dfc.ui.prompt import compare, entry, listing, nats, parts, reader, token_strips
from dfc.ui.prompt.entry import Prompt
from dfc.ui.prompt.listing import Filters
from dfc.ui.prompt.token_strips import Span
from dfc.ui.shell import address, data
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import section
from dfc.ui.shell.text import count, failure, plain, sentence
from dfc.ui.shell.turns import Turns

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Reading


EXAMPLES: dict[str, Turns] = {
    "Who made you?": (
        ("user", "Who made you, and what are you called?"),
        ("assistant", "I am a language model. I was trained by a company, and I have no name of my own."),
    ),
    "News in Chinese": (
        ("text", "新华社北京电 国务院总理今天在人民大会堂会见了来访的外宾，双方就两国关系交换了意见。"),
    ),
    "Scripture": (("text", "In the beginning God created the heaven and the earth. And the earth was without form."),),
    "Code": (("text", "def load(path, encoding='utf-8'):\n    with open(path) as file:\n        return file.read()"),),
}


def show(view: View) -> None:
    """Draw the page."""
    st.html(
        '<div class="dfc-hero"><h1>Prompt</h1><p>Give both models a text of your own and see which features fire on '
        "which of its tokens. Click a token, or drag over several, to find the features that fire most there.</p></div>"
    )
    comparing = st.toggle(
        "compare two prompts",
        key="compare",
        bind="query-params",
        help="Which features fire on one text and not on the other.",
    )
    endings = ("", "2") if comparing else ("",)
    documents = int(data.facts(view.store).get("documents") or 0)
    prompts = []
    for column, ending in zip(st.columns(len(endings), gap="large"), endings, strict=True):
        with column:
            prompts.append(entry.show(ending, documents, comparing))
    if comparing:
        st.button("Read both", icon=":material/visibility:", type="primary", on_click=entry.read, args=endings)
    status = st.empty()
    readings = []
    for prompt in prompts:
        if prompt is None:
            _nothing_yet(comparing)
            return
        try:
            readings.append(reader.read(view, prompt, status))
        except UserError as error:
            status.empty()
            _cannot(error)
            return
    if comparing:
        compare.show(view, readings)
    else:
        _one(view, readings[0], status)


def _nothing_yet(comparing: bool) -> None:
    what = "Give both texts, then read both" if comparing else "Type a text and read it"
    st.html(
        f'<p class="dfc-muted">{what}: the models are loaded when they are first needed, which takes a moment. '
        "Texts of a few sentences say most.</p>"
    )
    if not comparing:
        st.html('<div class="dfc-small">Or begin with one of these:</div>')
        with st.container(horizontal=True):
            for name, turns in EXAMPLES.items():
                st.button(name, key=f"example_{name}", on_click=entry.choose, args=(Prompt(turns),))


def _cannot(error: UserError) -> None:
    """Why nothing could be read; a missing model is no fault of the page."""
    message = str(error)
    if isinstance(error, NotLoadedError):
        message = f"Reading a prompt needs both models on this machine, and one is not to be had: {message}"
    st.warning(plain(sentence(message)), icon=":material/cloud_off:")


def _one(view: View, reading: Reading, status: DeltaGenerator) -> None:
    names = model_names(view.config)
    known = reader.described(view, fired(reading))
    _figures(reading, known)
    parts.notices(reading, names)
    if not reading.kept.any():
        return
    span = token_strips.chosen_span(address.get("span"), reading.pairs)
    feature = parts.chosen_feature(view)
    with st.container(horizontal=True, gap="large"):
        filters = parts.filters(view)
        colour = nats.choose()
    expected = None if colour == "features" else _expected(view, reading, status)
    st.html(parts.strips(view, reading, known, filters, feature, "strips", span, colour, expected))
    if expected is not None:
        nats.figures(view, expected)
        if span is not None:
            nats.likeliest(view, reading, expected, span)
    if feature is not None:
        parts.about(view, feature, known)
    _list(view, reading, known, filters, span, feature)
    listing.tokens(reading, known, filters, span, view)


def _expected(view: View, reading: Reading, status: DeltaGenerator) -> Expected | None:
    """How well both models expected the text; the page goes on without it where that cannot be told."""
    try:
        return reader.expect(view, reading, status)
    except Exception as error:
        status.empty()
        st.warning(plain(failure(error, "How well the models expected this could not be told")))
        return None


def _figures(reading: Reading, known: pd.DataFrame) -> None:
    fires = known["partition"].value_counts()
    cells = (
        ("Tokens in A", len(reading.tokens["a"]), "Template and special tokens included."),
        ("Tokens in B", len(reading.tokens["b"]), "Template and special tokens included."),
        ("Pairs that count", int(reading.kept.sum()), "Tokens of both models that end at the same character, without "
         "the first ones and those of outlying norm. A feature has one figure a pair."),
        ("Fire only in A", int(fires.get("a", 0)), "Features of A's own that fire on some pair of the text."),
        ("Fire only in B", int(fires.get("b", 0)), "Features of B's own that fire on some pair of the text."),
        ("Fire in both", int(fires.get("shared", 0)), "Shared features that fire on some pair; their figure comes "
         "from both models' streams at once."),
    )  # fmt: skip
    st.html(
        '<dl class="dfc-figures">'
        + "".join(
            f'<div><dt title="{escape(help_text)}">{title}</dt><dd>{count(value)}</dd></div>'
            for title, value, help_text in cells
        )
        + "</dl>"
    )


def _list(
    view: View,
    reading: Reading,
    known: pd.DataFrame,
    filters: Filters,
    span: Span | None,
    feature: FeatureRow | None,
) -> None:
    if span is None:
        section("What fires on this text", "Click a row to see where it fires.")
        table = known
    else:
        said = " / ".join(dict.fromkeys(label(token_strips.words(reading, side, span).strip()[:60]) for side in SIDES))
        section(f"What fires on “{said}”", "Of all features, those that fire most on the chosen tokens.")
        st.button("Whole text", icon=":material/close:", key="whole", on_click=_whole)
        table = reader.described(view, fired(reading, *span))
    listing.features(reading, filters.of(table), feature)


def _whole() -> None:
    st.query_params.pop("span", None)
    st.query_params.pop("page", None)
