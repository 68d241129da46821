"""docs/columns.md: what every column of a feature means, from the descriptions that the app reads, too."""

from __future__ import annotations

from dfc.store import columns


def markdown() -> str:
    """docs/columns.md, whole."""
    lines = [
        "# Columns of the feature store",
        "",
        "Made by `python -m dfc.report.columns_page > docs/columns.md`; do not edit by hand. The pages say the same.",
        "Other tables: [schema.sql](../dfc/store/schema.sql), [evidence.sql](../dfc/store/evidence.sql).",
    ]
    for title, table in (
        ("features.duckdb, table `features`", columns.FEATURES),
        ("evidence.duckdb, table `evidence`", columns.EVIDENCE),
    ):
        lines += ["", f"## {title}", "", "| column | type | in a table | meaning | used to |", "|---|---|---|---|---|"]
        for one in table:
            used = [("sort", one.sorted), ("filter", bool(one.steps)), ("compare with other features", one.spread)]
            uses = ", ".join(use for use, holds in used if holds)
            unit = f" In {one.unit}." if one.unit and one.unit not in one.help else ""
            shown = one.title if one.look != "none" else ""
            lines.append(f"| `{one.name}` | {one.kind} | {shown} | {one.meaning}{unit} | {uses} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
