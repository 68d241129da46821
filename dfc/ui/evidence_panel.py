"""What speaks for and against a feature's being exclusive, in words and bars."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, VERDICTS, Side, Verdict
from dfc.store.reader import EvidenceRow, FeatureRow
from dfc.ui import address, data
from dfc.ui.frame import View
from dfc.ui.reference_strip import Population, strip
from dfc.ui.style import side_name
from dfc.ui.text import count, number, percent
from dfc.worlds import null_result

VERDICT_HELP: dict[Verdict, str] = {
    "exclusive": "Its own model's activations predict it, the other model's clearly do not.",
    "mirrored": "A feature of the other exclusive partition fires like it: one concept stands on both sides.",
    "shared-like": "The other model's activations predict it nearly as well, or a shared feature fires like it.",
    "unclear": "The evidence points neither way, or too few held-out firings carry it.",
    "dead": "It fires too rarely to be judged.",
}
_PROBE = (
    "How well a linear function of each model's activations predicts this feature on documents kept out of training. "
    "Absolute values mean little, since a sparse feature is only partly linear even in its own model: compare them."
)


_STRIPS = (
    "Each number (the dark line) on the spread of the same measure over this partition, over shared features, and over "
    "the null run, in which nothing is exclusive: thin line the middle 90 %, bar the middle half, notch the median."
)
_MEASURES: tuple[tuple[str, str, str], ...] = (
    (
        "probe_ratio",
        "other model's share of R²",
        "What the other model's probe reaches of its own model's R². Low speaks for exclusive.",
    ),
    (
        "auroc_ratio",
        "other model's share of AUROC",
        "The same for telling where it fires at all, beyond chance. Low speaks for exclusive.",
    ),
    (
        "mirror_correlation",
        "mirror in the other model",
        "Largest correlation with a feature that only the other model may use. Low speaks for exclusive.",
    ),
    (
        "shared_correlation",
        "likest shared feature",
        "Largest correlation with a feature of both. Low speaks for exclusive.",
    ),
    (
        "nu_epsilon",
        "ν of the residual",
        "Latent scaling through the stitch: how much of it stands in the other model's residual. Near 1: the other "
        "model has it, and the dictionary gave it no feature for it.",
    ),
    (
        "nu_r",
        "ν of the reconstruction",
        "The same in the other model's reconstruction. Near 1: other features stand in for it there.",
    ),
    (
        "source_specificity",
        "specific to sources",
        "0: fires in the corpus's own mixture of sources; 1: in one source alone.",
    ),
)


def show(view: View, feature: FeatureRow, names: dict[Side, str]) -> None:
    """Draw the panel; before `verify`, the command that makes it."""
    st.markdown(
        "**Is it exclusive?**",
        help="A decoder norm of zero only says where the feature was allowed to act. This is what the activations say.",
    )
    found = view.store.evidence(feature.feature_id)
    if found is None:
        st.caption(f"Not judged yet: `python -m dfc verify {view.run.name}` collects the evidence, then reload.")
        return
    st.html(
        f'<p><b class="dfc-{feature.partition}">{found.verdict}</b>, confidence {found.confidence:.2f}<br>'
        f'<span class="dfc-muted">{escape(VERDICT_HELP[found.verdict])}</span></p>'
    )
    st.caption("Predicted from", help=_PROBE)
    st.html(_probes(found, names))
    st.caption("Beside other features", help=_STRIPS)
    st.html(_strips(view, feature, found, names))
    st.caption(
        "Fires most like it",
        help="The largest correlation over pairs with a feature that only the other model has, and with a shared one: "
        "high means that the same concept stands elsewhere, too.",
    )
    _like(view, "Only in the other", found.mirror_id, found.mirror_correlation)
    _like(view, "Shared", found.shared_id, found.shared_correlation)


def overview(view: View, names: dict[Side, str]) -> None:
    """How the verdicts fall, and what the null run says of them."""
    verdicts: Any = data.verdicts(view.store)
    if verdicts.empty:
        st.caption(f"The evidence is still to be collected: `python -m dfc verify {view.run.name}`, then reload.")
        return
    head = "".join(f'<th title="{escape(VERDICT_HELP[verdict])}">{verdict}</th>' for verdict in VERDICTS)
    rows = "".join(
        f'<tr><td><i class="dfc-dot dfc-{partition}"></i>'
        f"{'shared by both' if partition == 'shared' else f'only in {side_name(partition, names)}'}</td>"
        + "".join(f"<td>{count(int(verdicts.loc[partition].get(verdict, 0)))}</td>" for verdict in VERDICTS)
        + "</tr>"
        for partition in PARTITIONS
        if partition in verdicts.index
    )
    st.markdown("**What the evidence says**", help="Judged on held-out documents, one rule for all features.")
    st.html(f'<table class="dfc-table"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>')
    result = null_result.read(view.run)
    if result is None:
        st.caption(f"`python -m dfc null {view.run.name}` tells how often the rule is wrong: a model against itself.")
    else:
        st.caption(
            f"Null run, {names['a']} against itself in a rotated basis: {count(result.exclusive)} of "
            f"{count(result.dedicated)} dedicated features ({percent(result.share)}) came out exclusive; none is."
        )


def _probes(found: EvidenceRow, names: dict[Side, str]) -> str:
    sides: tuple[tuple[Side, float | None, float | None], ...] = (
        ("a", found.probe_r2_a, found.auroc_a),
        ("b", found.probe_r2_b, found.auroc_b),
    )
    rows = "".join(
        f'<span class="dfc-word dfc-{side}">{side_name(side, names)}</span>'
        f'<span class="dfc-bar dfc-{side}"><i style="width:{100 * min(1.0, max(0.0, r2 or 0.0)):.1f}%"></i></span>'
        f'<span class="dfc-value" title="R² {number(r2)}, AUROC of firing {number(auroc)}">R² {number(r2)}</span>'
        for side, r2, auroc in sides
    )
    return f'<div class="dfc-bars">{rows}</div>'


def _strips(view: View, feature: FeatureRow, found: EvidenceRow, names: dict[Side, str]) -> str:
    """Each measure's number on its spread."""
    own, null = data.reference(view.store), null_result.read(view.run)
    title = "shared features" if feature.partition == "shared" else f"features only in {names[feature.partition]}"
    rows = []
    for measure, words, meaning in _MEASURES:
        value: float | None = getattr(found, measure)
        if value is None:
            continue
        spread = own.get(measure, {})
        populations = [Population(title, feature.partition, spread.get(feature.partition, []))]
        if feature.partition != "shared":
            populations.append(Population("shared features", "shared", spread.get("shared", [])))
        if null is not None:
            populations.append(Population("the null run", None, null.reference.get(measure, {}).get("a", [])))
        rows.append(
            f'<span class="dfc-small" title="{escape(meaning)}">{escape(words)}</span>{strip(value, populations)}'
            f'<span class="dfc-value">{number(value)}</span>'
        )
    return f'<div class="dfc-spreads">{"".join(rows)}</div>'


def _like(view: View, title: str, other: int | None, correlation: float | None) -> None:
    if other is not None and correlation is not None:
        st.page_link(
            address.FEATURE_PAGE,
            label=f"{title}: feature {other}, {correlation:.2f}",
            query_params=address.feature_params(view.run.name, other),
        )
