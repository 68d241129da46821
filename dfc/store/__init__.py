"""What is known about every feature of a run, in three DuckDB files: what they are, whose, and what they mean.

The only room with SQL. It takes and gives plain tables and knows no torch.
"""

SCHEMA_VERSION = 9
READABLE = (5, 6, 7, 8, SCHEMA_VERSION)
"""Versions of features.duckdb that are read. Up to 5 the evidence stood in it, and is read there.

Up to 6 norms were lengths in the scaled space, raw norms were not kept, and each model had one factor as its scale. Up
to 7 nothing was kept of encoders, nor how a feature moves the logits of all tokens, and labels were not tested. Up to 8
no words of contexts were kept by themselves: searches look through all texts.
"""
EVIDENCE_VERSION = 3
EVIDENCE_READABLE = (1, 2, EVIDENCE_VERSION)
"""Versions of evidence.duckdb that are read; 1 had no findings, and those of 2 took languages together."""
TABLES = (
    "run",
    "models",
    "features",
    "contexts",
    "documents",
    "logits",
    "logit_counts",
    "sources",
    "roles",
    "phrases",
    "coactivations",
)
EVIDENCE_TABLES = ("run", "evidence", "reference", "neighbours", "findings", "texts", "pair_gaps")
"""`pair_gaps` is not in all of version 3."""
MEANING_VERSION = 1
MEANING_TABLES = ("run", "meanings")
"""Of meaning.duckdb."""
