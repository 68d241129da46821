"""Every figure of a feature, described once: its name and type, what it is called and means, and where it is used.

The schema of the evidence, the table of features, its orders and filters, the words beside a figure, the drawings of
where it stands among others, exports and docs/columns.md all read this list. What one model alone has (`evidence`) is
measured by the pieces of dfc/evidence: a new measure is a piece there, and a column here.
"""

from __future__ import annotations

from dfc.store.column import DENSITIES, GAPS, SHARES, STRENGTHS, Column

FEATURES: tuple[Column, ...] = (
    Column(
        "feature_id",
        "INTEGER",
        "feature",
        "Its number in the dictionary.",
        "features",
        "Click a row to open it.",
        called="number",
        sorted=True,
        format="%d",
        width=60,
    ),
    Column(
        "partition",
        "VARCHAR",
        "partition",
        "Which model may use it: a, b, or both (shared).",
        "features",
        look="text",
        width=80,
    ),
    Column("alive", "BOOLEAN", "alive", "Whether it fired on at least one kept pair.", "features", look="none"),
    Column("count", "BIGINT", "pairs", "Pairs of tokens on which it fires.", "features", sorted=True, look="none"),
    Column(
        "density",
        "DOUBLE",
        "density %",
        "Share of all token pairs on which it fires, in percent.",
        "features",
        called="density",
        sorted=True,
        steps=DENSITIES,
        format="%.4f",
        width=82,
    ),
    Column(
        "mean",
        "FLOAT",
        "mean",
        "Its average activation where it fires.",
        "features",
        called="mean activation",
        sorted=True,
        width=64,
    ),
    Column(
        "variance",
        "FLOAT",
        "variance",
        "Variance of its activation where it fires.",
        "features",
        sorted=True,
        look="none",
    ),
    Column(
        "max",
        "FLOAT",
        "max",
        "Its strongest activation on the corpus.",
        "features",
        called="strongest activation",
        sorted=True,
        steps=STRENGTHS,
        width=64,
    ),
    Column(
        "histogram",
        "BIGINT[]",
        "strength",
        "How strongly it fires where it fires: weak on the left, strong on the right.",
        "features",
        look="bars",
    ),
    Column(
        "norm_a",
        "FLOAT",
        "‖d_A‖",
        "Length of its decoder vector in model A; 0 where it has none.",
        "features",
        called="decoder norm in A",
        sorted=True,
        width=64,
    ),
    Column(
        "norm_b",
        "FLOAT",
        "‖d_B‖",
        "Length of its decoder vector in model B; 0 where it has none.",
        "features",
        called="decoder norm in B",
        sorted=True,
        width=64,
    ),
    Column(
        "relative_norm",
        "FLOAT",
        "relative",
        "‖d_A‖ / (‖d_A‖ + ‖d_B‖): 1 only in A, 0 only in B.",
        "features",
        called="relative norm",
        sorted=True,
        steps=SHARES,
        width=72,
    ),
    Column(
        "peak_tokens",
        "VARCHAR[]",
        "peaks on",
        "The commonest tokens on which its strongest contexts peak.",
        "features",
        look="tokens",
        width=150,
    ),
    Column(
        "main_source",
        "VARCHAR",
        "main source",
        "The source on whose tokens it fires most often.",
        "features",
        sorted=True,
        look="text",
        width=116,
    ),
    Column(
        "specificity",
        "FLOAT",
        "specific",
        "How much it keeps to its main source: that source's share of its firing rates.",
        "features",
        "1 is that source alone, 1 / number of sources is evenly everywhere.",
        called="specificity",
        sorted=True,
        width=66,
    ),
    Column(
        "label",
        "VARCHAR",
        "label",
        "Words that set its strongest contexts apart from the corpus.",
        "features",
        sorted=True,
        look="text",
        width=150,
    ),
)

EVIDENCE: tuple[Column, ...] = (
    Column(
        "held_out_count",
        "BIGINT",
        "held out",
        "Pairs of documents kept out of training on which it fires: what its probes are judged by.",
        called="held-out firings",
        look="none",
    ),
    Column("documents", "BIGINT", "documents", "In how many documents it fires.", look="none"),
    Column(
        "own_r2",
        "FLOAT",
        "own R²",
        "How well a linear function of its own model's activations predicts it on held-out documents (R²).",
        also="Of a shared feature, from the model that predicts it better.",
        called="R² from its own model",
        sql="""CASE partition WHEN 'a' THEN probe_r2_a WHEN 'b' THEN probe_r2_b
               ELSE greatest(probe_r2_a, probe_r2_b) END""",
        sorted=True,
        steps=SHARES,
        asked=True,
        width=70,
    ),
    Column(
        "other_r2",
        "FLOAT",
        "other R²",
        "The same from the other model's activations.",
        called="R² from the other model",
        sql="""CASE partition WHEN 'a' THEN probe_r2_b WHEN 'b' THEN probe_r2_a
               ELSE least(probe_r2_a, probe_r2_b) END""",
        look="none",
    ),
    *(
        Column(
            f"{name}_{side}",
            "FLOAT",
            f"{title} {side.upper()}",
            f"{help_text} from model {side.upper()}'s activations, on held-out documents.",
            look="none",
        )
        for name, title, help_text in (
            ("probe_r2", "R²", "How well a linear function predicts it (R²)"),
            ("auroc", "AUROC", "How well a linear function tells where it fires (AUROC)"),
        )
        for side in ("a", "b")
    ),
    Column(
        "matched_gap",
        "FLOAT",
        "gap",
        "By how many nats a character what follows its firings surprises the other model more than its own, beyond "
        "matched places, where it does not fire: in texts of the same source, said by the same speaker, at a token of "
        "the same kind, as far into the document. Below 0 the other model knows better.",
        called="gap beyond matched places",
        unit="nats a character",
        sorted=True,
        steps=GAPS,
        spread=True,
        error="matched_error",
        axis=(-0.5, 1.0),
        format="%.3f",
        width=64,
    ),
    Column(
        "matched_error",
        "FLOAT",
        "± gap",
        "The standard error of the gap beyond matched places, each document taken as one observation.",
        unit="nats a character",
        look="none",
    ),
    Column(
        "matched_share",
        "FLOAT",
        "share matched",
        "Of its firing, the share at places of which enough are like it and do not fire.",
        called="share with matched places",
        look="none",
    ),
    Column(
        "held_out_gap",
        "FLOAT",
        "held-out gap",
        "The gap beyond matched places on documents kept out of training alone.",
        called="gap on held-out documents",
        unit="nats a character",
        format="%.3f",
        look="none",
    ),
    Column(
        "held_out_error",
        "FLOAT",
        "± held-out gap",
        "The standard error of the gap on held-out documents, each of them taken as one observation.",
        unit="nats a character",
        look="none",
    ),
    Column(
        "surprise_gap",
        "FLOAT",
        "raw gap",
        "By how many nats a character what follows its firings surprises the other model more than its own, above the "
        "middle document: high means that its own model knows more there.",
        called="knows better what follows",
        unit="nats a character",
        sorted=True,
        steps=GAPS,
        spread=True,
        error="surprise_error",
        axis=(-0.5, 1.0),
        format="%.3f",
        width=70,
    ),
    Column(
        "surprise_error",
        "FLOAT",
        "± raw gap",
        "The standard error of the raw gap, each document taken as one observation.",
        unit="nats a character",
        look="none",
    ),
    Column(
        "false_discovery",
        "FLOAT",
        "false discovery",
        "The least rate of false discoveries at which its gap beyond matched places, in either direction, passes for "
        "larger than the threshold.",
        called="rate of false discoveries",
        sorted=True,
        rising=True,
        look="none",
    ),
    Column(
        "finding",
        "INTEGER",
        "finding",
        "The finding that it belongs to, by its rank among those of both models, from 0; none: it is part of none.",
        called="rank of its finding",
        sorted=True,
        rising=True,
        format="%d",
        look="none",
    ),
    Column(
        "place",
        "INTEGER",
        "place",
        "Its place among the features of its finding; 0 is the best.",
        called="place in its finding",
        sorted=True,
        rising=True,
        format="%d",
        look="none",
    ),
    Column(
        "knows",
        "VARCHAR",
        "finding of",
        "The model that knows better what follows where it fires, a or b: of features that are part of a finding.",
        called="model that knows better",
        look="none",
    ),
    Column(
        "probe_ratio",
        "FLOAT",
        "other / own",
        "How well a linear function of the other model's activations predicts it on held-out documents (R²), as a "
        "share of what its own model's reach: low means that the other model has nothing like it.",
        called="R², other model over own",
        sorted=True,
        steps=SHARES,
        spread=True,
        width=82,
    ),
    Column(
        "auroc_ratio",
        "FLOAT",
        "other / own AUROC",
        "The same for telling where it fires at all, beyond chance: low means that the other model cannot tell.",
        called="AUROC, other model over own",
        spread=True,
        look="none",
    ),
    Column(
        "mirror_id",
        "INTEGER",
        "mirror feature",
        "The most correlated feature that only the other model may use.",
        look="none",
    ),
    Column(
        "mirror_correlation",
        "FLOAT",
        "mirror",
        "The largest correlation with any feature that only the other model has: high means that the concept stands on "
        "both sides.",
        called="likeness in the other model",
        sorted=True,
        steps=SHARES,
        spread=True,
        width=64,
    ),
    Column(
        "shared_id",
        "INTEGER",
        "likest shared feature",
        "Of an exclusive feature: the most correlated shared one.",
        look="none",
    ),
    Column(
        "shared_correlation",
        "FLOAT",
        "likest shared",
        "The largest correlation with a feature of both: high means that both models have it.",
        called="likeness among shared features",
        spread=True,
        look="none",
    ),
    Column(
        "decoder_cosine",
        "FLOAT",
        "cosine",
        "Of a shared feature: the cosine of its two decoder vectors, one carried over by the stitch.",
        look="none",
    ),
    Column(
        "nu_epsilon",
        "FLOAT",
        "ν residual",
        "Latent scaling through the stitch: how much of it stands in the other model's residual. Near 1: the other "
        "model has it, and the dictionary gave it no feature for it.",
        called="ν of the residual",
        spread=True,
        look="none",
    ),
    Column(
        "nu_r",
        "FLOAT",
        "ν reconstruction",
        "The same in the other model's reconstruction. Near 1: other features stand in for it there.",
        called="ν of the reconstruction",
        spread=True,
        look="none",
    ),
    Column(
        "source_specificity",
        "FLOAT",
        "to sources",
        "How far its firings depart from the corpus's own mixture of sources: 0, not at all; 1, in one source alone.",
        called="specific to sources",
        spread=True,
        look="none",
    ),
    Column(
        "verdict",
        "VARCHAR",
        "verdict",
        "What the evidence says of its being exclusive.",
        sorted=True,
        look="text",
        width=78,
    ),
    Column(
        "confidence",
        "FLOAT",
        "confidence",
        "How sure the evidence is that only one model has it, 0 to 1.",
        sorted=True,
        steps=SHARES,
        look="share",
    ),
)


def columns() -> tuple[Column, ...]:
    """All of them: those of the features, then those of the evidence."""
    return FEATURES + EVIDENCE


def column(name: str) -> Column:
    """The column of a name.

    Raises:
        KeyError: if there is none.
    """
    return {one.name: one for one in columns()}[name]


def meaning(name: str) -> str:
    """All that is said of a column."""
    return column(name).meaning


def judged(name: str) -> bool:
    """Whether only evidence says it."""
    return column(name).table == "evidence"
