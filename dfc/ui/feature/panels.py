"""What is measured about a feature beside its contexts: strength, sources, norms, and what it writes."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.card import lens_notes
from dfc.report.heatmap import label
from dfc.report.words import numeral, percent, times
from dfc.store import columns
from dfc.store.reader import EvidenceRow, FeatureRow
from dfc.ui.feature import evidence, finding, nearest, related, said
from dfc.ui.shell import charts, data
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import number, plain

LOGITS = 10
_ENCODER = {"encoder_norm": "encoder norm", "encoder_decoder": "cosine of encoder and decoder"}
_BETWEEN = {"encoder_cosine": "encoders", "decoder_cosine": "decoders"}
_MOVES = {
    True: "How far one unit of its activation moves each model's stream, in that stream's typical deviation from its "
    "mean.",
    False: "How long a vector it adds to each model's stream, as the crosscoder sees it: an older version wrote this.",
}
"""What its norms say, by whether they compare."""


def show(view: View, feature: FeatureRow, known: EvidenceRow | None, names: dict[Side, str]) -> None:
    """Draw the panels, one under the other."""
    said.show(view, feature)
    finding.show(view, feature, known, names)
    evidence.show(view, feature, known, names)
    facts = data.facts(view.store)
    if feature.alive and any(feature.histogram):
        st.markdown(
            "**How strongly it fires**",
            help=f"{columns.meaning('histogram')} Pairs on which it is silent are not counted.",
        )
        figure = charts.histogram(feature.histogram, facts["histogram_edges"], feature.partition, view.theme)
        charts.show(figure, "strength", "Histogram of the feature's activations")
    st.markdown(
        "**Where it fires**",
        help="Firing rate on each source, as a multiple of its rate on the whole corpus (the black line).",
    )
    st.html(_sources(view.store.sources(feature.feature_id), feature))
    _roles(view, feature, facts)
    _phrases(view.store.phrases([feature.feature_id]))
    nearest.show(view, feature, names)
    related.show(view, feature)
    st.markdown(
        "**Decoder norms**",
        help=f"{_MOVES[data.norms_compare(view.store)]} Exclusive features have no vector in the other model, by "
        "construction.",
    )
    st.html(_norms(feature, names))
    _encoders(view, feature, known, names)
    _logit_lens(view, facts, feature)


def _sources(table: pd.DataFrame, feature: FeatureRow) -> str:
    top = max(float(table["rate"].max()) if len(table) else 0.0, feature.density)
    if top <= 0:
        return '<p class="dfc-muted">On none of the sources.</p>'
    mark = 100 * feature.density / top
    rows = "".join(
        f'<span class="dfc-word">{escape(source)}</span>'
        f'<span class="dfc-bar" title="{percent(rate)} of its pairs, {pairs:,} pairs">'
        f'<i style="width:{100 * rate / top:.1f}%"></i><u style="left:{mark:.1f}%"></u></span>'
        f'<span class="dfc-value">{times(rate / feature.density)} ×</span>'
        for source, pairs, rate in zip(table["source"], table["count"], table["rate"], strict=True)
    )
    return f'<div class="dfc-bars dfc-{feature.partition}">{rows}</div>'


def _roles(view: View, feature: FeatureRow, facts: dict[str, Any]) -> None:
    """On whose words it fires, where the corpus has chats."""
    if len([pairs for pairs in (facts.get("role_pairs") or {}).values() if pairs]) < 2:
        return
    st.markdown("**On whose words**", help="The same, by who speaks; “text” is what is no chat.")
    table = view.store.roles(feature.feature_id).rename(columns={"role": "source"})
    st.html(_sources(table, feature))


def _phrases(table: pd.DataFrame) -> None:
    """What the strongest contexts have in common."""
    if table.empty:
        return
    st.markdown(
        "**What its contexts share**",
        help="Words at the peaks of its strongest contexts, and words in a row around them, that stand there more "
        "often than in the corpus, and how many times so.",
    )
    for kind, title in (("token", "at the peak"), ("phrase", "around it")):
        rows = table[table["kind"] == kind].head(5)
        chips = "".join(
            f'<span class="dfc-chip" title="in {int(count)} contexts">{escape(label(text[:40]))} '
            f'<span class="dfc-muted">{times(lift)} ×</span></span>'
            for text, count, lift in zip(rows["text"], rows["count"], rows["lift"], strict=True)
        )
        if chips:
            st.html(f'<div class="dfc-small">{title}</div>{chips}')


def _norms(feature: FeatureRow, names: dict[Side, str]) -> str:
    norms = {"a": feature.norm_a, "b": feature.norm_b}
    top = max(norms.values()) or 1.0
    rows = "".join(
        f'<span class="dfc-word dfc-{side}">{side_name(side, names)}</span>'
        f'<span class="dfc-bar dfc-{side}"><i style="width:{100 * norms[side] / top:.1f}%"></i></span>'
        f'<span class="dfc-value">{number(norms[side], 3) if norms[side] else "none"}</span>'
        for side in SIDES
    )
    return f'<div class="dfc-bars">{rows}</div>'


def _encoders(view: View, feature: FeatureRow, known: EvidenceRow | None, names: dict[Side, str]) -> None:
    """What it reads, beside what it writes: small, since nothing is judged by it."""
    if feature.encoder_norm_a is None:
        st.caption(f"Norms of its encoder are not in this store: {_again(view)} keeps them.")
        return
    head = "".join(f"<th>{side_name(side, names)}</th>" for side in SIDES)
    rows = "".join(_figure_row(name, title, feature) for name, title in _ENCODER.items())
    st.html(f'<table class="dfc-table dfc-small"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>')
    between = {} if known is None else {name: known.values[name] for name in _BETWEEN}
    said = " · ".join(
        f'<span title="{escape(columns.meaning(name))}">{_BETWEEN[name]} {value:.2f}</span>'
        for name, value in between.items()
        if value is not None
    )
    if said:
        st.html(f'<div class="dfc-small">Between the models, cosine of {said}</div>')


def _figure_row(name: str, title: str, feature: FeatureRow) -> str:
    cells = ""
    for side in SIDES:
        value: float | None = getattr(feature, f"{name}_{side}")
        cells += f'<td title="{escape(columns.meaning(f"{name}_{side}"))}">{number(value) if value else "–"}</td>'
    return f'<tr><td class="dfc-word">{title}</td>{cells}</tr>'


def _again(view: View) -> str:
    """The command that writes what an older store lacks, as Markdown."""
    return f"`python -m dfc index --again {plain(view.run.name)}`"


def _logit_lens(view: View, facts: dict[str, Any], feature: FeatureRow) -> None:
    table = view.store.logits(feature.feature_id)
    notes = lens_notes(facts, data.models(view.store), table, feature.partition)
    counted: Any = view.store.logit_counts(feature.feature_id).itertuples()
    spreads = {row.side: row for row in counted}
    for side in SIDES:
        rows = table[table["side"] == side]
        if len(rows):
            st.markdown(
                f"**What it writes in {side.upper()}**",
                help="The decoder vector read through the model's own unembedding (logit lens): tokens that it makes "
                "more, and less, likely. It says what the feature pushes toward, not what it fires on. The histogram "
                "counts all tokens by their logit: single ones far out are what it writes; a bulk without tails says "
                "that it writes nothing in particular here. Its upright scale is logarithmic.",
            )
        if side in notes:
            st.caption(plain(notes[side]))
        if rows.empty:
            continue
        if (spread := spreads.get(side)) is not None:
            figure = charts.logits(spread.counts, spread.least, spread.most, side, view.theme)
            alt = f"Histogram of what it adds to the logits of all tokens of {side.upper()}"
            charts.show(figure, f"logits_{side}", alt)
        else:
            st.caption(f"How it moves all other tokens is not in this store: {_again(view)} counts them.")
        top = float(rows["value"].abs().max()) or 1.0
        for direction in ("promoted", "suppressed"):
            chosen = rows[rows["direction"] == direction].head(LOGITS)
            bars = "".join(
                f'<span class="dfc-word dfc-token">{escape(label(token[:24]))}</span>'
                f'<span class="dfc-bar"><i style="width:{100 * abs(value) / top:.1f}%"></i></span>'
                f'<span class="dfc-value">{numeral(value, "+.2f")}</span>'
                for token, value in zip(chosen["token"], chosen["value"], strict=True)
            )
            tone = f"dfc-{side}" if direction == "promoted" else ""
            st.html(f'<div class="dfc-small">{direction}</div><div class="dfc-bars {tone}">{bars}</div>')
