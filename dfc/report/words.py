"""What verdicts and measures mean, in plain words: the same on the page and in a report."""

from __future__ import annotations

from collections.abc import Mapping

from dfc.config import SIDES, Partition, Side, Verdict

VERDICT_HELP: dict[Verdict, str] = {
    "exclusive": "What follows where it fires surprises the other model clearly more than its own, and nothing in the "
    "other model fires like it. (Without the models' surprise: only its own model's activations predict it.)",
    "mirrored": "A feature of the other exclusive partition fires like it: one concept stands on both sides.",
    "shared-like": "The other model's activations predict it nearly as well, or a shared feature fires like it.",
    "unclear": "The other model seems to know as well what follows, or too few held-out firings carry the evidence.",
    "dead": "It fires too rarely to be judged.",
}

PARTS: dict[Partition, str] = {"a": "only A", "b": "only B", "shared": "shared"}
"""What a partition is called where there is no room for the models' names."""

PROBE = (
    "How well a linear function of each model's activations predicts this feature on documents kept out of training. "
    "Absolute values mean little, since a sparse feature is only partly linear even in its own model: compare them."
)

NULL_RUN = (
    "It is judged by probes and correlations alone: a model is exactly as surprised as itself, so that with surprise "
    "nothing could come out."
)
"""What the null run does not test."""

MEASURES: tuple[tuple[str, str, str], ...] = (
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
"""Columns of `evidence` with a spread to be compared with: name, what it is called, what it means."""

AXES: dict[str, tuple[float, float]] = {"surprise_gap": (-0.5, 1.0)}
"""Ends of the axis on which a measure is drawn; those not named go from 0 to 1."""

ORIGINS = {"words": "made of words that set its strongest contexts apart from the corpus; nobody has read them"}
"""Where a label comes from, in words."""


def told_apart(names: Mapping[Side, str], places: Mapping[Side, str]) -> dict[Side, str]:
    """What both models are called; where they are read is added if the names are the same."""
    if names["a"] != names["b"]:
        return {side: names[side] for side in SIDES}
    return {side: f"{names[side]} ({side.upper()}, {places[side]})" for side in SIDES}


def whose(partition: Partition, names: Mapping[Side, str]) -> str:
    """Which model may use the features of a partition."""
    return "shared by both" if partition == "shared" else f"only in {names[partition]}"
