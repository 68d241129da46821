"""Which features are wanted, in which order: the filters of the features table as SQL.

Everything that a user types is bound as a value; the only texts that enter a statement are written here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

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
    "surprise_gap",
    "probe_ratio",
    "mirror_correlation",
    "label",
    "variance",
    "own_r2",
    "verdict",
]

TEXTS: tuple[Order, ...] = ("label", "main_source", "verdict")
"""Orders that are by the alphabet."""
Ends = tuple[float, float]
"""Of a range; both ends belong to it, and may be infinite."""
_COMMON = " etaoinsrhldcumfgpwybvkxjqz"  # from the commonest

JUDGED = "store.features LEFT JOIN store.evidence USING (feature_id)"
OWN_R2 = """CASE partition WHEN 'a' THEN probe_r2_a WHEN 'b' THEN probe_r2_b
            ELSE greatest(probe_r2_a, probe_r2_b) END"""
RANGES = {
    "density": "density",
    "max": "max",
    "relative_norm": "relative_norm",
    "confidence": "confidence",
    "own_r2": OWN_R2,
    "surprise_gap": "surprise_gap",
    "probe_ratio": "probe_ratio",
    "mirror_correlation": "mirror_correlation",
}
"""Filters of a query with two ends, and the figures that they are about."""


@dataclass(frozen=True)
class FeatureQuery:
    """A filtered, sorted page of the features table; schema.sql says what each column means.

    A range is from its first number to its second, both included. A range of numbers of `evidence` leaves out the
    features that have none: those not judged, and those to which the number does not apply.

    Attributes:
        own_r2: of the held-out R² from the feature's own model; of a shared feature the larger one.
        source, role: passes if the feature fires on it more often than on all pairs.
        search: passes if a context, on either side, or the label holds this text, whatever its case. (So do the peak
            tokens: they are texts of contexts.)
        label: passes if the label holds this text, whatever its case.
        ids: passes if among these; None: all.
        verdicts: passes if among these; none: all, those not judged included.
    """

    partitions: tuple[Partition, ...] = ("a", "b", "shared")
    alive_only: bool = True
    density: Ends = (0.0, 1.0)
    max: Ends | None = None  # of this and the next six, None: all, those without the figure included
    relative_norm: Ends | None = None
    confidence: Ends | None = None
    own_r2: Ends | None = None  # R² of the probe from the model that has it; shared: from the better one
    surprise_gap: Ends | None = None
    probe_ratio: Ends | None = None
    mirror_correlation: Ends | None = None
    main_source: str | None = None
    label: str = ""
    search: str = ""
    ids: tuple[int, ...] | None = None  # these alone; None: all
    source: str | None = None  # fires on it more often than on the corpus
    role: str | None = None  # likewise, on what somebody says
    verdicts: tuple[Verdict, ...] = ()  # none: all, those not judged included
    order: Order = "specificity"
    descending: bool = True
    limit: int = 100
    offset: int = 0


def folded(text: str) -> str:
    """SQL for a text without its case; İ, which `lower` makes a plain i, keeps its dot."""
    return f"lower(replace({text}, 'İ', 'i̇'))"


def rare_end(text: str) -> str:
    """A text from its rarest character on, three characters at least where it has so many.

    DuckDB looks for the first byte of what it searches: where that is a space or an e, the scan takes several times
    as long. So a text is looked for only where its rare end was found.
    """
    ranks = [_COMMON.find(mark) % (len(_COMMON) + 1) for mark in text.lower()]  # what is not among them comes last
    return text[max(range(max(1, len(text) - 2)), key=ranks.__getitem__) :]


def ordering(query: FeatureQuery) -> str:
    """The clause that sorts rows of JUDGED: texts whatever their case, and what has no figure, or no text, last.

    Raises:
        ValueError: if there is no such order.
    """
    if query.order not in get_args(Order):  # it enters the statement as it is
        raise ValueError(f"cannot order by {query.order}")
    text = f"nullif({folded(query.order)}, '')"
    by = text if query.order in TEXTS else RANGES.get(query.order, query.order)
    return f"ORDER BY {by} {'DESC' if query.descending else 'ASC'} NULLS LAST, feature_id"


def conditions(query: FeatureQuery) -> tuple[str, list[Any]]:
    """The condition on rows of JUDGED, and the values bound in it."""
    terms: list[str] = ["list_contains(?, partition)"]
    values: list[Any] = [list(query.partitions)]
    for name, figure in RANGES.items():
        ends: Ends | None = getattr(query, name)
        if ends is not None:
            terms.append(f"{figure} BETWEEN ? AND ?")
            values += ends
    if query.alive_only:
        terms.append("alive")
    if query.main_source is not None:
        terms.append("main_source = ?")
        values.append(query.main_source)
    for table, column, value in (("sources", "source", query.source), ("roles", "role", query.role)):
        if value is not None:
            terms.append(
                f"""feature_id IN (SELECT feature_id FROM store.{table} AS part JOIN store.features AS whole
                    USING (feature_id) WHERE {column} = ? AND part.rate > whole.density)"""
            )
            values.append(value)
    if query.label:
        terms.append(f"contains({folded('label')}, {folded('?')})")
        values.append(query.label)
    if query.ids is not None:
        terms.append("feature_id IN (SELECT unnest(?::INTEGER[]))")
        values.append(list(query.ids))
    if query.verdicts:
        terms.append("list_contains(?, verdict)")
        values.append(list(query.verdicts))
    if query.search:
        parts = dict.fromkeys((rare_end(query.search), query.search))
        terms.append(
            f"""(contains({folded("label")}, {folded("?")})
                OR feature_id IN (SELECT feature_id FROM store.searched
                                  WHERE {" AND ".join(f"contains(text, {folded('?')})" for _ in parts)}))"""
        )
        values += [query.search, *parts]
    return " AND ".join(terms), values
