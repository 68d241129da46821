"""What is known about every feature of a run, in one DuckDB file.

The only room with SQL. It takes and gives plain tables and knows no torch.
"""

SCHEMA_VERSION = 5
TABLES = (
    "run",
    "models",
    "features",
    "contexts",
    "documents",
    "logits",
    "sources",
    "roles",
    "phrases",
    "coactivations",
    "evidence",
    "reference",
    "neighbours",
)
