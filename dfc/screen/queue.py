"""What a person is asked to decide on: a run's findings, and where these are few, exclusive features after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from dfc.config import PARTITIONS, Partition, Side
from dfc.report import findings
from dfc.report.findings import Finding
from dfc.report.heatmap import called, side_of
from dfc.store.reader import FeatureQuery, Store

FEW = 30
"""With fewer findings, exclusive features follow until there are so many to decide on."""
MEMBERS = 3
"""Features of a finding, the best first, whose contexts are looked at."""


@dataclass(frozen=True)
class Subject:
    """One thing to decide on: a finding, or an exclusive feature that is in none.

    Attributes:
        feature_id: by which it is known; of a finding its best feature.
        side: the model that does better, or that alone may use the feature.
        partition, title, fingerprint: of that feature.
        members: features whose contexts are looked at, the best first.
        confidence: the feature's evidence score.
        finding: None of an exclusive feature.
    """

    feature_id: int
    side: Side
    partition: Partition
    title: str
    fingerprint: str
    members: tuple[int, ...]
    confidence: float
    finding: Finding | None


def subjects(store: Store) -> tuple[Subject, ...]:
    """All that is to be decided on: findings by their rank, then exclusive features by their evidence score."""
    found = {one.feature_id: one for one in findings.of(store)}
    best = FeatureQuery(PARTITIONS, alive_only=False, ids=tuple(found), order="finding", descending=False)
    listed = _listed(store, best, len(found))
    if (lacking := FEW - len(found)) > 0:
        spoken_for = sum(one.members for one in found.values())
        exclusive = FeatureQuery(("a", "b"), verdicts=("exclusive",), order="confidence")
        further = _listed(store, exclusive, lacking + spoken_for)
        listed += [row for row in further if pd.isna(row["finding"])][:lacking]
    prints = store.fingerprints([int(row["feature_id"]) for row in listed])
    members = store.members([one.finding for one in found.values()]).groupby("finding")["feature_id"]
    of = {number: tuple(map(int, features.head(MEMBERS))) for number, features in members}
    return tuple(_subject(row, found.get(int(row["feature_id"])), of, prints) for row in listed)


def counted(listed: Sequence[Subject]) -> str:
    """What is to be decided on, and why there is more than findings, as a sentence."""
    found = sum(one.finding is not None for one in listed)
    others, findings_are = len(listed) - found, f"{found:,} finding{'' if found == 1 else 's'}"
    if not others:
        return f"To decide on: {findings_are}."
    after = f"{others:,} exclusive feature{'' if others == 1 else 's'} in no finding, by evidence score"
    why = f"there are fewer than {FEW} findings"
    return f"To decide on: {findings_are if found else 'no findings'}, then {after}, for {why}."


def _listed(store: Store, query: FeatureQuery, most: int) -> list[dict[str, Any]]:
    table = store.features(replace(query, limit=most))
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _subject(
    row: dict[str, Any], finding: Finding | None, members: dict[Any, tuple[int, ...]], prints: dict[int, str]
) -> Subject:
    identity, partition = int(row["feature_id"]), row["partition"]
    return Subject(
        identity,
        side_of(partition) if finding is None else finding.side,
        partition,
        called(row["label"]),
        prints[identity],
        (identity,) if finding is None else members.get(finding.finding, (identity,)),
        float(row["confidence"]),
        finding,
    )
