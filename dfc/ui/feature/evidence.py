"""What speaks for and against a feature's being exclusive, in words and bars."""

from __future__ import annotations

from html import escape

import streamlit as st

from dfc.config import Side
from dfc.report import causal, exclusivity, score, weighing
from dfc.report.document import measures_of, populations_of
from dfc.report.heatmap import side_of
from dfc.report.reference_strip import key
from dfc.report.weighing import Weighed
from dfc.report.words import PROBE, unjudged
from dfc.store.reader import EvidenceRow, FeatureRow
from dfc.ui.shell import address, data, null_run, own_words
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import side_name, verdict_badge
from dfc.ui.shell.text import number

_STRIPS = (
    "Each number (the dark line) on the spread of the same measure over this partition, over shared features, and over "
    "the null run, in which nothing is exclusive: thin line the middle 90 %, bar the middle half, notch the median; "
    "broken line: what the rule holds it to. Arrows: some lie beyond the axis."
)
_SCORE = (
    "A product of what speaks for it, each from 0 to 1, so that one strong objection is enough. It is no probability."
)


def show(view: View, feature: FeatureRow, evidence: EvidenceRow | None, names: dict[Side, str]) -> None:
    """Draw the panel; before `verify`, the command that makes it."""
    st.markdown(
        "**Is it exclusive?**",
        help="A decoder norm of zero only says where the feature was allowed to act. This is what the activations say.",
    )
    facts = data.facts(view.store)
    if evidence is None:
        st.caption(unjudged(facts, view.run.name))
        return
    checked = causal.kept(view.store, [feature.feature_id]).get(feature.feature_id)
    alike = exclusivity.kept(view.store, [feature.feature_id]).get(feature.feature_id, ())
    weighed = weighing.of(evidence, feature.partition, facts, names, checked, alike)
    badge = verdict_badge(evidence.verdict, evidence.confidence, feature.partition, view.theme, facts)
    st.html(
        f'<div class="dfc-judged">{badge}'
        f'<div class="dfc-claim">{escape(weighed.sentence)}</div>'
        f'<div class="dfc-small">{escape(weighed.design)} {escape(weighed.means)}</div></div>'
    )
    st.html(_list("For", weighed.for_it) + _list("Against", weighed.against))
    own_words.show(view, feature.feature_id, side_of(feature.partition, evidence))
    st.caption(f"Evidence score {evidence.confidence:.2f}", help=_SCORE)
    st.html(_factors(weighed))
    st.caption("Predicted from", help=PROBE)
    st.html(_probes(evidence, names))
    st.caption("Beside other features", help=_STRIPS)
    if weighed.measured_as:
        st.html(f'<div class="dfc-small">{escape(weighed.measured_as)}</div>')
    st.html(_strips(view, feature, evidence, names))
    if evidence.mirror_id is not None or evidence.shared_id is not None:
        st.caption(
            "Fires most like it",
            help="The largest correlation over pairs with a feature that only the other model may use, and with a "
            "shared one: high means that the same concept stands elsewhere, too.",
        )
    _like(view, "Of the other model's own", evidence.mirror_id, evidence.mirror_correlation)
    _like(view, "Shared", evidence.shared_id, evidence.shared_correlation)


def _list(title: str, points: tuple[str, ...]) -> str:
    rows = "".join(f"<li>{escape(point)}</li>" for point in points) or "<li>nothing</li>"
    return f'<div class="dfc-weighed"><b>{title}</b><ul>{rows}</ul></div>'


def _factors(weighed: Weighed) -> str:
    """What the score is the product of."""
    if not weighed.factors:
        return '<div class="dfc-small">Its factors are not known: another version of dfc made the evidence.</div>'
    rows = "".join(
        f'<span class="dfc-word" title="{escape(score.FACTORS[name])}">{name}</span>'
        f'<span class="dfc-bar"><i style="width:{100 * factor:.1f}%"></i></span>'
        f'<span class="dfc-value" title="{escape(score.FACTORS[name])}">{factor:.2f}</span>'
        for name, factor in weighed.factors.items()
    )
    return f'<div class="dfc-bars">{rows}</div>'


def _probes(evidence: EvidenceRow, names: dict[Side, str]) -> str:
    sides: tuple[tuple[Side, float | None, float | None], ...] = (
        ("a", evidence.probe_r2_a, evidence.auroc_a),
        ("b", evidence.probe_r2_b, evidence.auroc_b),
    )
    rows = "".join(
        f'<span class="dfc-word dfc-{side}">{side_name(side, names)}</span>'
        f'<span class="dfc-bar dfc-{side}"><i style="width:{100 * min(1.0, max(0.0, r2 or 0.0)):.1f}%"></i></span>'
        f'<span class="dfc-value" title="R² {number(r2)}, AUROC of firing {number(auroc)}">R² {number(r2)}</span>'
        for side, r2, auroc in sides
    )
    return f'<div class="dfc-bars">{rows}</div>'


def _strips(view: View, feature: FeatureRow, evidence: EvidenceRow, names: dict[Side, str]) -> str:
    """Each measure's number on its spread."""
    reference, null, facts = data.reference(view.store), null_run.read(view.run), data.facts(view.store)
    measures = measures_of(feature, evidence, reference, null, names, facts)
    legend = key(populations_of("probe_ratio", feature.partition, reference, null, names))
    rows = "".join(
        f'<span class="dfc-small" title="{escape(one.meaning)}">{escape(one.name)}'
        f"{f'<br>{escape(one.unit)}' if one.unit else ''}</span><span>{one.drawing}</span>"
        f'<span class="dfc-value" title="{escape(one.shown)}">{escape(one.shown)}</span>'
        for one in measures
    )
    return f'{legend}<div class="dfc-room"><div class="dfc-spreads">{rows}</div></div>'


def _like(view: View, title: str, other: int | None, correlation: float | None) -> None:
    if other is not None and correlation is not None:
        st.page_link(
            address.FEATURE_PAGE,
            label=f"{title}: feature {other}, {correlation:.2f}",
            query_params=address.feature_params(view.run.name, other),
        )
