"""The card of one feature: what it is, where it fires and what it does, on one sheet.

One template serves the browser, the PNG and the PDF. This module turns the store's rows
into what the template prints; every text is escaped there (autoescape) or in `heatmap`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dfc.config import SIDES, Partition, Side
from dfc.report import causal, exclusivity, findings, palette, render, said, weighing
from dfc.report.heatmap import HEATMAP_CSS, called, context_html, excerpt, label, side_of
from dfc.report.palette import Theme
from dfc.report.words import acts, numeral, percent, times
from dfc.store import attached
from dfc.store.explanations import NOTHING, ExplanationStore
from dfc.store.reader import Context, EvidenceRow, FeatureRow, Store

TOP_CONTEXTS = 6
LOGIT_TOKENS = 8
SOURCES = 8
EXCERPT = (130, 80)
"""Columns of text before and after the peak of a context."""


templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["label"] = label


@dataclass(frozen=True)
class Bar:
    """One bar of a list: its label, its length as a share of the longest, and its value."""

    label: str
    share: float
    value: str


@dataclass(frozen=True)
class TokenList:
    """Tokens that a feature promotes or suppresses in one model."""

    side: Side
    direction: str
    bars: list[Bar]


@dataclass(frozen=True)
class Histogram:
    """Activations in bins of equal width on a log axis, in the units of a viewBox of 400 × 120."""

    bars: list[tuple[float, float, float]]
    """x, width and height."""
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class Example:
    """One context as the card shows it."""

    peak: str
    source: str
    document: int
    html: Markup


def feature_card_html(store: Store, feature_id: int, run_name: str, theme: Theme = "light") -> str:
    """A complete HTML document of one feature, `render.WIDTH` CSS pixels wide.

    It loads nothing: fonts are the reader's own where the packaged ones are not installed.

    Raises:
        UserError: if the run has no such feature.
    """
    feature, facts, evidence = store.feature(feature_id), store.facts(), store.evidence(feature_id)
    side = side_of(feature.partition, evidence)
    kept = ExplanationStore(attached.explanations_path(store.path))
    told = kept.told({feature_id: feature.fingerprint}).get(feature_id, NOTHING)
    models: Any = store.models()
    logits = store.logits(feature_id)
    names: dict[Side, str] = {of: f"{of.upper()} ({models.loc[of, 'name']})" for of in SIDES}
    checked = causal.kept(store, [feature_id]).get(feature_id)
    alike = exclusivity.kept(store, [feature_id]).get(feature_id, ())
    weighed = None if evidence is None else weighing.of(evidence, feature.partition, facts, names, checked, alike)
    return templates.get_template("card.html").render(
        feature=feature,
        title=acts(feature.partition),
        evidence=evidence,
        weighed=weighed,
        verdicts=palette.verdict_marks(theme),
        models=models,
        variables=Markup(palette.css_variables(theme)),
        heatmap_css=Markup(HEATMAP_CSS),
        font_stack=Markup(render.font_stack()),
        ramp=palette.ramp(feature.partition, theme),
        numbers=_numbers(feature, evidence),
        called=called(feature.label) if feature.label else "",
        finding="" if evidence is None else findings.belonging(evidence, findings.of(store), names),
        explained="" if told.explanation is None else said.explained(told.explanation),
        peak_tokens=[label(token) for token in feature.peak_tokens],
        histogram=histogram(feature.histogram, facts["histogram_edges"]),
        token_lists=token_lists(logits),
        lens_notes=lens_notes(facts, models, logits, feature.partition),
        sources=sources(store.sources(feature_id), feature.density),
        groups=groups(store.contexts(feature_id), side, feature),
        side=side,
        run_name=run_name,
        permalink=permalink(run_name, feature_id),
        created=str(facts["created"])[:10],
    )


def feature_card_png(store: Store, feature_id: int, run_name: str, theme: Theme = "light") -> bytes:
    """The card as a PNG at twice its size in CSS pixels, cut to its content.

    Raises:
        UserError: if the run has no such feature.
    """
    return render.to_png(feature_card_html(store, feature_id, run_name, theme))


def feature_card_pdf(store: Store, feature_id: int, run_name: str, theme: Theme = "light") -> bytes:
    """The card as a PDF of one page.

    Raises:
        UserError: if the run has no such feature.
    """
    html = feature_card_html(store, feature_id, run_name, theme)
    return render.to_pdf(html, title=f"Feature {feature_id} of {run_name}")


def permalink(run_name: str, feature_id: int) -> str:
    """Where the app shows a feature, relative to the app's address."""
    return f"/Feature?{urlencode({'run': run_name, 'feature': feature_id})}"


def histogram(counts: list[int], edges: list[float]) -> Histogram | None:
    """The filled part of a log-binned histogram; None if nothing was counted.

    Args:
        counts: of each bin.
        edges: of the bins, one more than counts, log-spaced.
    """
    filled = [index for index, count in enumerate(counts) if count]
    if not filled:
        return None
    first, last = max(0, filled[0] - 1), min(len(counts), filled[-1] + 2)
    low, high = math.log10(edges[first]), math.log10(edges[last])

    def x(value: float) -> float:
        return 400 * (math.log10(value) - low) / (high - low)

    bars = [
        (x(edges[i]), x(edges[i + 1]) - x(edges[i]), max(1.0, 100 * counts[i] / max(counts)))
        for i in range(first, last)
        if counts[i]
    ]
    steps = (1,) if high - low > 2 else (1, 2, 5)
    values = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return Histogram(bars, [(x(value), f"{value:g}") for value in values if low <= math.log10(value) <= high])


def _short(name: str, limit: int = 24) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _numbers(feature: FeatureRow, evidence: EvidenceRow | None = None) -> list[tuple[str, str, str]]:
    """Name, value and remark of each key number, with how much better a model knows what follows where it is sure."""
    if not feature.alive:
        return []
    often = f"1 in {round(1 / feature.density):,} tokens" if feature.density < 0.5 else "of tokens"
    return [
        ("Density", percent(feature.density, 2), often),
        ("Max activation", f"{feature.max:,.2f}", "on one token"),
        ("Mean activation", f"{feature.mean:,.2f}", "where it fires"),
        ("Main source", _short(feature.main_source), f"{percent(feature.specificity, 2)} of its firing there"),
        *_gap(feature, evidence),
    ]


def _gap(feature: FeatureRow, evidence: EvidenceRow | None) -> list[tuple[str, str, str]]:
    """The gap beyond matched places, where it speaks for one of the models for sure."""
    found = findings.favour(evidence, feature.partition)
    if found is None:
        return []
    return [(found.title, f"{found.gap:.3f}", f"± {found.error:.3f} nats a character beyond matched places")]


def lens_notes(facts: Mapping[str, Any], models: Any, logits: pd.DataFrame, partition: Partition) -> dict[Side, str]:
    """How what a feature writes in each model is to be read: through what it was read, and how much comes after.

    Args:
        facts: of the run.
        models: `Store.models`.
        logits: `Store.logits` of the feature.
        partition: its; of a model that it may not write in nothing is said.
    """
    notes: dict[Side, str] = {}
    for side in (one for one in SIDES if partition in (one, "shared")):
        note = str(facts.get(f"lens_note_{side}", ""))
        if (logits["side"] == side).any():
            layer, layers = int(models.loc[side, "layer"]), int(models.loc[side, "layers"])
            after = layers - layer - 1
            rough = f"Rough: {after} of {layers} blocks come after it and change what it writes." if after else ""
            notes[side] = " ".join(filter(None, (f"Read through {note}." if note else "", rough)))
        elif note:
            notes[side] = f"What it writes in {side.upper()} is not known: there is no logit lens. {note}."
    return {side: note for side, note in notes.items() if note}


def token_lists(logits: pd.DataFrame) -> list[TokenList]:
    """The tokens most promoted and most suppressed in each model, from `Store.logits`."""
    lists = []
    for side in SIDES:
        for direction in ("promoted", "suppressed"):
            rows = logits[(logits["side"] == side) & (logits["direction"] == direction)].head(LOGIT_TOKENS)
            if len(rows):
                largest = float(rows["value"].abs().max()) or 1.0
                bars = [
                    Bar(label(token), abs(value) / largest, numeral(value, "+.2f"))
                    for token, value in zip(rows["token"], rows["value"], strict=True)
                ]
                lists.append(TokenList(side, direction, bars))
    return lists


def sources(rows: pd.DataFrame, density: float) -> list[Bar]:
    """Firing rates by source, from `Store.sources`, as multiples of that on the whole corpus."""
    largest = float(rows["rate"].max()) if len(rows) else 0.0
    if largest == 0:
        return []
    shown = rows.head(SOURCES)
    return [
        Bar(source, rate / largest, f"{times(rate / density)} ×")
        for source, rate in zip(shown["source"], shown["rate"], strict=True)
    ]


def groups(
    contexts: list[Context], side: Side, feature: FeatureRow, chosen: Sequence[int] = ()
) -> list[tuple[str, list[Example]]]:
    """The strongest contexts and one of each lower band, under their headings; groups without any are left out.

    Where any were chosen, by `Context.number`, these alone are shown.
    """
    if picked := [context for context in contexts if context.number in set(chosen)]:
        heading = f"Contexts, {len(picked)} chosen of {len(contexts)}"
        return [(heading, [_example(context, side, feature) for context in picked])]
    strongest = [context for context in contexts if context.band == 0][:TOP_CONTEXTS]
    first_of_band = {context.band: context for context in reversed(contexts) if context.band > 0}
    weaker = [first_of_band[band] for band in sorted(first_of_band)]
    groups = [("Strongest contexts", strongest), ("Weaker contexts, one from each lower quarter", weaker)]
    return [(heading, [_example(context, side, feature) for context in group]) for heading, group in groups if group]


def _example(context: Context, side: Side, feature: FeatureRow) -> Example:
    html = context_html(excerpt(context, side, *EXCERPT), side, feature.max, feature.partition)
    return Example(f"{context.peak:,.2f}", _short(context.source), context.document, Markup(html))
