"""Every figure of a feature, described once: its name and type, what it is called and means, and where it is used.

The schema of the evidence, the table of features, its orders and filters, the words beside a figure, the drawings of
where it stands among others, exports and docs/columns.md all read this list. What one model alone has (`evidence`) is
measured by the pieces of dfc/evidence: a new measure is a piece there, and a column here.
"""

from __future__ import annotations

from dfc.store.column import DENSITIES, SHARES, STRENGTHS, Column
from dfc.store.evidence_columns import EVIDENCE

__all__ = ["EVIDENCE", "FEATURES", "column", "columns", "judged", "meaning"]

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
    *(
        Column(
            f"norm_{side.lower()}",
            "FLOAT",
            f"‖d_{side}‖",
            f"How far one unit of its activation moves model {side}'s stream, in that stream's typical deviation from "
            f"its mean: 0.1 is a tenth of it; 0 where it has no vector there.",
            "features",
            called=f"decoder norm in {side}",
            unit="typical deviations",
            sorted=True,
            format="%.3f",
            width=64,
        )
        for side in ("A", "B")
    ),
    *(
        Column(
            f"raw_norm_{side.lower()}",
            "FLOAT",
            f"‖d_{side}‖ raw",
            f"The length of the vector that one unit of its activation adds to model {side}'s stream, in the stream's "
            f"own units: not to be compared between models.",
            "features",
            called=f"raw decoder norm in {side}",
            unit="the stream's own units",
            sorted=True,
            format="%.3g",
        )
        for side in ("A", "B")
    ),
    *(
        Column(
            f"encoder_norm_{side.lower()}",
            "FLOAT",
            f"‖e_{side}‖",
            f"By how much its activation grows while model {side}'s stream moves by its typical deviation along the "
            "feature's encoder vector there; 0 where it has none.",
            "features",
            called=f"encoder norm in {side}",
            unit="activation a typical deviation",
            sorted=True,
            look="none",
        )
        for side in ("A", "B")
    ),
    *(
        Column(
            f"encoder_decoder_{side.lower()}",
            "FLOAT",
            f"cos e, d in {side}",
            f"The cosine of its encoder and decoder vector in model {side}'s stream, as the crosscoder sees it. Near "
            "1 it reads what it writes; near 0 it reads something else, such as what tells it from features like it.",
            "features",
            called=f"encoder and decoder in {side}",
            sorted=True,
            look="none",
        )
        for side in ("A", "B")
    ),
    Column(
        "relative_norm",
        "FLOAT",
        "relative",
        "‖d_A‖ / (‖d_A‖ + ‖d_B‖), each in its model's typical deviation: 1 only in A, 0 only in B.",
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
        "main share",
        "How much it keeps to its main source: that source's share of its firing rates, summed over the sources.",
        "features",
        "1 is that source alone, 1 / number of sources is evenly everywhere.",
        called="share of its main source",
        sorted=True,
        width=66,
    ),
    Column(
        "label",
        "VARCHAR",
        "label",
        "Words that set its strongest contexts apart from the corpus; or what a person says it is about, or a language "
        "model, if that holds.",
        "features",
        "There is none where words alone do not tell other strong contexts from the corpus.",
        sorted=True,
        look="text",
        width=150,
    ),
    Column(
        "label_auroc",
        "FLOAT",
        "label AUROC",
        "How well its label's words alone tell where it fires strongly: of a strong context from which no word was "
        "taken and a random place of the corpus, the chance that more of them stand around the context; 0.5 tells "
        "nothing.",
        "features",
        called="how well its label tells",
        sorted=True,
        look="none",
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
