"""Findings: where one model knows better what follows, wherever in the dictionary the feature stands that shows it.

Every feature is tested in either direction, in its own partition or in the shared one, and those that pass are joined
to groups: features that fire in the same texts are one thing to read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from dfc.config import SIDES, EvidenceConfig
from dfc.crosscoder.model import Crosscoder
from dfc.evidence.pieces import Columns, Found, Numbers, Piece, Profiles

Ints = npt.NDArray[np.int64]
SURE = 2.0
"""Standard errors taken off a gap for what it is at least; findings are sorted by that."""


@dataclass(frozen=True)
class Group:
    """Features of one finding.

    Attributes:
        side: the model that knows better.
        members: their numbers, the best first.
        likeness: of each to the best, (members,); 1 for itself.
        documents: in how many documents any of them fires.
    """

    side: str
    members: Ints
    likeness: Numbers
    documents: int


def piece(crosscoder: Crosscoder) -> Piece:
    """`false_discovery`, and for members of a finding its number, `knows` and their place in it."""

    def columns(found: Found) -> Columns:
        gap, error = found.numbers("matched_gap"), found.numbers("matched_error")
        documents = np.zeros(len(gap), dtype=np.int64)
        if found.profiles is not None:
            documents = np.bincount(found.profiles.feature, minlength=len(gap))
        chance = false_discovery(p_values(gap, error, documents, found.config))
        toward_a = np.where(found.of_a, gap, -gap)
        groups = [] if found.profiles is None else grouped(toward_a, error, chance, found.profiles, found.config)
        found.tables["findings"] = table(groups, {**found.columns, "false_discovery": chance})
        number, place = np.full(len(gap), -1), np.full(len(gap), -1)
        knows = np.full(len(gap), "", dtype=object)
        for finding, group in enumerate(groups):
            number[group.members], place[group.members] = finding, np.arange(len(group.members))
            knows[group.members] = group.side
        return {"false_discovery": chance, "finding": number, "place": place, "knows": knows}

    return Piece(columns)


def p_values(gap: Numbers, error: Numbers, documents: Ints, config: EvidenceConfig) -> Numbers:
    """How probable a gap so far beyond `surprise_gap`, in its direction, is if it were no larger, (features,).

    Student's t with a degree of freedom less than documents, by Wallace's transformation to a normal deviate,
    z = (8ν + 1) / (8ν + 3) · √(ν ln(1 + t² / ν)) (Ann. Math. Stat. 30, 1959), right to a hundredth of z. NaN with fewer
    than `finding_documents` documents, and where no gap was measured.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.maximum((np.abs(gap) - config.surprise_gap) / error, 0)
        freedom = np.maximum(documents - 1, 1)
        z = (8 * freedom + 1) / (8 * freedom + 3) * np.sqrt(freedom * np.log1p(t**2 / freedom))
    chance = 0.5 * torch.erfc(torch.from_numpy(z / math.sqrt(2))).numpy()
    return np.where(documents >= config.finding_documents, chance, np.nan)


def false_discovery(chance: Numbers) -> Numbers:
    """The least rate of false discoveries at which each passes (Benjamini and Hochberg, J. R. Stat. Soc. B 57, 1995).

    Of m p-values the i-th smallest passes at m p / i, or at what a larger one passes at, (tests,); NaN stays NaN.
    """
    tested = np.flatnonzero(np.isfinite(chance))
    order = tested[np.argsort(chance[tested], kind="stable")]
    rates = chance[order] * len(order) / np.arange(1, len(order) + 1)
    result = np.full(len(chance), np.nan)
    result[order] = np.minimum.accumulate(rates[::-1])[::-1].clip(max=1)
    return result


def grouped(
    toward_a: Numbers, error: Numbers, chance: Numbers, profiles: Profiles, config: EvidenceConfig
) -> list[Group]:
    """The features that pass, joined to findings, those first whose gap is largest for sure.

    The best feature that is left leads; it takes along all that know the same way and fire in the same documents: the
    cosine of the square roots of how much of either lies in each is `group_likeness` at least.

    Args:
        toward_a: matched gaps in favour of model A, (features,).
        error: their standard errors, (features,).
        chance: their rates of false discoveries, (features,).
        profiles: where they fire.
        config: thresholds.
    """
    sure = np.abs(toward_a) - SURE * error
    passing = np.flatnonzero(np.nan_to_num(chance, nan=1.0) <= config.false_discovery)
    groups: list[Group] = []
    for side, sign in zip(SIDES, (1, -1), strict=True):
        own = passing[sign * toward_a[passing] > 0]
        left = own[np.argsort(-sure[own], kind="stable")]
        rows = _Rows(profiles, left)
        while len(left):
            likeness = rows.likeness(left)
            likeness[0] = 1.0
            chosen = likeness >= config.group_likeness
            members = left[chosen]
            groups.append(Group(side, members, likeness[chosen], rows.documents(members)))
            left = left[~chosen]
    return sorted(groups, key=lambda group: -sure[group.members[0]])


class _Rows:
    """Profiles of some features as rows of a sparse matrix, each of length 1."""

    def __init__(self, profiles: Profiles, features: Ints) -> None:
        first = np.searchsorted(profiles.feature, features)
        last = np.searchsorted(profiles.feature, features, side="right")
        self._of = dict(zip(features.tolist(), zip(first.tolist(), last.tolist(), strict=True), strict=True))
        self._document, self._weight = profiles.document, profiles.weight
        self._dense = np.zeros(int(profiles.document.max(initial=-1)) + 1)

    def likeness(self, features: Ints) -> Numbers:
        """Of each to the first of them, (features,)."""
        document, weight = self._row(int(features[0]))
        self._dense[document] = weight
        found = np.array([float(self._dense[row] @ values) for row, values in map(self._row, features.tolist())])
        self._dense[document] = 0
        return found

    def documents(self, features: Ints) -> int:
        """In how many documents any of them fires."""
        return len(np.unique(np.concatenate([self._row(feature)[0] for feature in features.tolist()])))

    def _row(self, feature: int) -> tuple[Ints, Numbers]:
        first, last = self._of[feature]
        weight = np.sqrt(self._weight[first:last])
        return self._document[first:last], weight / max(float(np.sqrt((weight**2).sum())), np.finfo(float).tiny)


def table(groups: list[Group], columns: Columns) -> pa.Table:
    """The table `findings`, from the columns of all pieces."""
    best = np.array([group.members[0] for group in groups], dtype=np.int64)

    def figure(name: str, of: bool = False) -> Numbers:
        values = columns[name].astype(np.float64)[best]
        return values * np.sign(columns["matched_gap"].astype(np.float64)[best]) if of else values

    return pa.table(
        {
            "finding": np.arange(len(groups)),
            "side": pa.array([group.side for group in groups], pa.string()),
            "feature_id": best,
            "members": np.array([len(group.members) for group in groups], dtype=np.int64),
            "documents": np.array([group.documents for group in groups], dtype=np.int64),
            "gap": figure("matched_gap", of=True),
            "error": figure("matched_error"),
            "held_out_gap": figure("held_out_gap", of=True),
            "held_out_error": figure("held_out_error"),
            "raw_gap": figure("surprise_gap", of=True),
            "raw_error": figure("surprise_error"),
            "false_discovery": figure("false_discovery"),
        }
    )
