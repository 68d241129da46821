"""Findings: where one model does better than at matched places, wherever in the dictionary the feature stands.

Every feature is tested in either direction, in its own partition or in the shared one. A feature that passes only
because of passages for which another stands already says nothing new: the two are one finding.
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
from dfc.evidence.matching import ratio
from dfc.evidence.pieces import Columns, Found, Numbers, Piece, Profiles
from dfc.report import kinds

Ints = npt.NDArray[np.int64]
CORE = 0.5
"""Of a feature's average density, what a passage must reach for its finding to stand for it; of the nats that speak for
a feature, what findings must stand for if it says nothing new."""
SURE = 2.0
"""Standard errors taken off a gap for what it is at least; findings are sorted by that."""


@dataclass(frozen=True)
class Group:
    """Features of one finding.

    Attributes:
        side: the model that does better.
        members: their numbers, the best first.
        documents: in how many documents the best fires, where surprise was measured.
    """

    side: str
    members: Ints
    documents: int


def piece(crosscoder: Crosscoder) -> Piece:
    """`false_discovery`, and for members of a finding its number, `knows` and their place in it."""

    def columns(found: Found) -> Columns:
        gap, error = found.numbers("matched_gap"), found.numbers("matched_error")
        number, place = np.full(len(gap), -1), np.full(len(gap), -1)
        knows = np.full(len(gap), "", dtype=object)
        profiles = found.profiles
        assert profiles is not None, "the gaps come first"
        chance = p_values(gap, error, found.numbers("matched_documents"), found.config)
        rate = false_discovery(chance)
        groups = grouped(np.where(found.of_a, gap, -gap), error, chance, rate, profiles, found.config)
        plain, doubt = found.numbers("plain_gap"), found.numbers("plain_error")
        groups = behind_last(groups, np.where(found.of_a, plain, -plain), doubt)
        for finding, group in enumerate(groups):
            number[group.members], place[group.members] = finding, np.arange(len(group.members))
            knows[group.members] = group.side
        found.tables["findings"] = table(groups, {**found.columns, "false_discovery": rate})
        return {"false_discovery": rate, "finding": number, "place": place, "knows": knows}

    return Piece(columns)


def p_values(gap: Numbers, error: Numbers, documents: Numbers, config: EvidenceConfig) -> Numbers:
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
    toward_a: Numbers, error: Numbers, chance: Numbers, rate: Numbers, profiles: Profiles, config: EvidenceConfig
) -> list[Group]:
    """The features that pass, joined to findings, those first whose gap is largest for sure.

    The best feature begins a finding, which stands for the passages in which it fires at least half as densely as on
    average. A further one joins if findings stand for half at least of the nats that speak for it, and its gap does not
    pass on the other passages alone: it joins the one that stands for most. Otherwise it begins one of its own.

    Args:
        toward_a: matched gaps in favour of model A, (features,).
        error: their standard errors, (features,).
        chance, rate: their p-values and rates of false discoveries, (features,).
        profiles: where they fire.
        config: thresholds.
    """
    sure = np.abs(toward_a) - SURE * error
    passing = np.flatnonzero(np.nan_to_num(rate, nan=1.0) <= config.false_discovery)
    largest = chance[passing].max(initial=0.0)
    groups: list[Group] = []
    for side, sign in zip(SIDES, (1, -1), strict=True):
        own = passing[sign * toward_a[passing] > 0]
        passages = _Passages(profiles, sign, largest, config)
        members: list[list[int]] = []
        for feature in own[np.argsort(-sure[own], kind="stable")].tolist():
            gap = sign * float(toward_a[feature])
            finding = passages.finding_of(feature)
            if finding is None or passages.says_something_new(feature, gap):
                passages.stand_for(feature, len(members))
                members.append([feature])
            else:
                members[finding].append(feature)
        groups += [Group(side, np.array(some), passages.documents(some[0])) for some in members]
    return sorted(groups, key=lambda group: -sure[group.members[0]])


def behind_last(groups: list[Group], plainly: Numbers, error: Numbers) -> list[Group]:
    """Findings in which the model surely falls behind, if by less than in like texts, after all others.

    Args:
        groups: in their order, which is kept otherwise.
        plainly: gaps compared with nothing, in favour of model A, (features,).
        error: their standard errors, (features,).
    """

    def falls_behind(group: Group) -> bool:
        best = group.members[0]
        return bool((plainly[best] if group.side == "a" else -plainly[best]) <= -kinds.SURE * error[best])

    return sorted(groups, key=falls_behind)


class _Passages:
    """Which finding of a model stands for which passage."""

    def __init__(self, profiles: Profiles, sign: int, largest: float, config: EvidenceConfig) -> None:
        self._profiles, self._sign, self._largest, self._config = profiles, sign, largest, config
        self._owner = np.full(len(profiles.document), -1)
        self._begins = np.searchsorted(profiles.feature, np.arange(int(profiles.feature.max(initial=-1)) + 2))

    def says_something_new(self, feature: int, gap: float) -> bool:
        """Whether a feature's gap passes where no finding stands for the passage."""
        passage, weight, beyond = self._of(feature)
        expected = beyond.sum() / weight.sum() - gap  # lower by what its own firings move
        free = self._owner[passage] < 0
        if not free.any():
            return False
        document = self._profiles.document[passage[free]]
        left, error, count = ratio(document, np.stack([beyond[free], weight[free]], axis=1))
        [chance] = p_values(np.array([left - expected]), np.array([error]), np.array([count]), self._config)
        return bool(left > expected and chance <= self._largest)

    def stand_for(self, feature: int, finding: int) -> None:
        """Let a finding stand for a feature's passages, as far as none does."""
        passage, weight, _ = self._of(feature)
        density = weight / self._profiles.characters[passage]
        dense = density >= CORE * (density @ weight) / weight.sum()
        self._owner[passage[dense & (self._owner[passage] < 0)]] = finding

    def finding_of(self, feature: int) -> int | None:
        """The finding that stands for most of the nats that speak for a feature, if findings stand for half of them."""
        passage, _, beyond = self._of(feature)
        owner, nats = self._owner[passage], beyond.clip(0)
        owned = owner >= 0
        if not owned.any() or nats[owned].sum() < CORE * nats.sum():
            return None
        return int(np.bincount(owner[owned], nats[owned]).argmax())

    def documents(self, feature: int) -> int:
        """In how many documents a feature fires."""
        return len(np.unique(self._profiles.document[self._of(feature)[0]]))

    def _of(self, feature: int) -> tuple[Ints, Numbers, Numbers]:
        """Passages of a feature, weights, and nats in favour of the model."""
        own = slice(self._begins[feature], self._begins[feature + 1])
        profiles = self._profiles
        return profiles.passage[own], profiles.weight[own], self._sign * profiles.beyond[own]


def table(groups: list[Group], columns: Columns) -> pa.Table:
    """The table `findings`, from the columns of all pieces."""
    best = np.array([group.members[0] for group in groups], dtype=np.int64)

    def figure(name: str) -> Numbers:
        return columns[name].astype(np.float64)[best]

    own = np.sign(figure("matched_gap"))  # columns are in favour of the feature's own model
    return pa.table(
        {
            "finding": np.arange(len(groups)),
            "side": pa.array([group.side for group in groups], pa.string()),
            "feature_id": best,
            "members": np.array([len(group.members) for group in groups], dtype=np.int64),
            "documents": np.array([group.documents for group in groups], dtype=np.int64),
            "effective": figure("matched_documents"),
            "gap": own * figure("matched_gap"),
            "error": figure("matched_error"),
            "held_out_gap": own * figure("held_out_gap"),
            "held_out_error": figure("held_out_error"),
            "plain_gap": own * figure("plain_gap"),
            "plain_error": figure("plain_error"),
            "false_discovery": figure("false_discovery"),
        }
    )
