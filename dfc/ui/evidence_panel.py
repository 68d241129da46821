"""What speaks for and against a feature's being exclusive, in words and bars."""

from __future__ import annotations

from html import escape

import streamlit as st

from dfc.config import Side
from dfc.store.reader import EvidenceRow, FeatureRow
from dfc.ui import address, data
from dfc.ui.frame import View
from dfc.ui.reference_strip import Population, strip
from dfc.ui.style import side_name
from dfc.ui.text import number
from dfc.ui.verdicts import VERDICT_HELP, badge
from dfc.worlds import null_result

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
        "surprise_gap",
        "knows better what follows",
        "By how many nats a character the text that follows a firing surprises the other model more than its own, less "
        "the same in the middle document. Above 0: its own model knows more there. High speaks for exclusive.",
    ),
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
        f'<div class="dfc-judged">{badge(found.verdict, found.confidence, view.theme)}'
        f'<div class="dfc-small">{escape(VERDICT_HELP[found.verdict])}</div></div>'
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
