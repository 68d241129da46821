"""Which features are wanted, in which order: the filters of the features table as SQL.

Everything that a user types is bound as a value; the only texts that enter a statement are written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dfc.config import Partition, Verdict

Order = Literal[
    "feature_id",
    "density",
    "max",
    "mean",
    "relative_norm",
    "norm_a",
    "norm_b",
    "specificity",
    "main_source",
    "count",
    "confidence",
    "probe_ratio",
    "mirror_correlation",
]

JUDGED = "store.features LEFT JOIN store.evidence USING (feature_id)"


@dataclass(frozen=True)
class FeatureQuery:
    """A filtered, sorted page of the features table."""

    partitions: tuple[Partition, ...] = ("a", "b", "shared")
    alive_only: bool = True
    density: tuple[float, float] = (0.0, 1.0)
    main_source: str | None = None
    search: str = ""
    ids: tuple[int, ...] | None = None  # these alone; None: all
    verdicts: tuple[Verdict, ...] = ()  # none: all, those not judged included
    order: Order = "specificity"
    descending: bool = True
    limit: int = 100
    offset: int = 0


def folded(text: str) -> str:
    """SQL for a text without its case; İ, which `lower` makes a plain i, keeps its dot."""
    return f"lower(replace({text}, 'İ', 'i̇'))"


def conditions(query: FeatureQuery) -> tuple[str, list[Any]]:
    """The condition on rows of JUDGED, and the values bound in it."""
    terms, values = ["list_contains(?, partition)", "density BETWEEN ? AND ?"], [list(query.partitions), *query.density]
    if query.alive_only:
        terms.append("alive")
    if query.main_source is not None:
        terms.append("main_source = ?")
        values.append(query.main_source)
    if query.ids is not None:
        terms.append("list_contains(?, feature_id)")
        values.append(list(query.ids))
    if query.verdicts:
        terms.append("list_contains(?, verdict)")
        values.append(list(query.verdicts))
    if query.search:
        terms.append(
            f"""(contains({folded("array_to_string(peak_tokens, ' ')")}, {folded("?")}) OR feature_id IN (
                SELECT feature_id FROM store.searched WHERE contains(text, {folded("?")})))"""
        )
        values += [query.search, query.search]
    return " AND ".join(terms), values
