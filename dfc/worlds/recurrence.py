"""Do whole findings recur? Groups of features of two runs over the same pairs, by where they fire and by their span.

A feature of one run may be two of another, or half of one; a group of them is what a reader is shown. So groups are
compared, and over passages of text, by which findings are made: two runs may fire on different tokens of one sentence.
And since features that come out differently from another seed may still span the same directions (arXiv 2606.12138),
the spans of the groups' decoder vectors are compared as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.config import SIDES, Side
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.worlds.stability_result import Counterpart, Recurrence

ENERGY = 0.9
"""Of what a group's features write into the stream, taken as uncorrelated: the share that its span has to hold."""
DIMENSIONS = 8
"""Of a span, at most."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Membership:
    """Which features are in which finding, as the evidence has it, (features,) each.

    Attributes:
        finding: its number, -1 of those in none.
        place: among its features, 0 the best.
        knows: the model that knows better.
    """

    finding: Ints
    place: Ints
    knows: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Groups:
    """The findings of one run, by their number.

    Attributes:
        sides: the model that knows better, of each.
        best: the best feature of each.
        members: how many features each has.
        activity: how much each fires in each passage, (findings, passages).
        spans: orthonormal directions of each in the scaled stream of the model that knows better, (dimensions, width);
            none where no feature of it acts in that model.
    """

    sides: list[Side]
    best: list[int]
    members: list[int]
    activity: Tensor
    spans: list[Tensor]


def groups(membership: Membership, codes: Codes, crosscoder: Crosscoder, passage: Tensor) -> Groups:
    """Put together the findings of a run.

    Args:
        membership: which feature is in which.
        codes: how the features fire, over some pairs.
        crosscoder: whose features they are.
        passage: the number of the passage in which each of these pairs lies, (pairs,).
    """
    finding = torch.from_numpy(membership.finding)
    count = int(finding.max()) + 1 if len(finding) else 0
    first = np.flatnonzero(membership.place == 0)
    best = {int(membership.finding[feature]): int(feature) for feature in first}
    size = torch.zeros(len(finding))
    squares = torch.zeros(len(finding)).index_add_(0, codes.features, codes.values.float().square())
    vectors: dict[Side, Tensor] = {}
    for side in SIDES:
        ids, own = crosscoder.decoder_vectors(side)
        vectors[side] = torch.zeros(len(finding), own.shape[1])
        vectors[side][ids] = own.float()
        size += vectors[side].square().sum(1)
    chosen = finding[codes.features] >= 0
    rows, features, values = codes.rows[chosen], codes.features[chosen], codes.values[chosen]
    activity = torch.zeros(count, int(passage.max()) + 1 if len(passage) else 0, dtype=torch.float64)
    weighted = (values.float() * size.sqrt()[features]).double()
    activity.index_put_((finding[features], passage[rows]), weighted, accumulate=True)
    sides: list[Side] = ["a" if membership.knows[best[number]] == "a" else "b" for number in range(count)]
    members = [torch.from_numpy(np.flatnonzero(membership.finding == number)) for number in range(count)]
    spans = [span(squares[own].sqrt()[:, None] * vectors[side][own]) for own, side in zip(members, sides, strict=True)]
    return Groups(sides, [best[number] for number in range(count)], [len(own) for own in members], activity, spans)


def span(vectors: Tensor) -> Tensor:
    """Orthonormal directions, (dimensions, width), that hold most of some vectors, (vectors, width): `ENERGY` of it.

    No direction where all vectors are 0; `DIMENSIONS` at most.
    """
    _, sizes, directions = torch.linalg.svd(vectors, full_matrices=False)
    energy = sizes.square().cumsum(0)
    if not len(energy) or energy[-1] <= 0:
        return directions[:0]
    wanted = int((energy < ENERGY * energy[-1]).sum()) + 1
    return directions[: min(wanted, DIMENSIONS)]


def overlap(one: Tensor, two: Tensor) -> float:
    """Mean squared cosine of the principal angles between two spans, of which one holds the other at 1; NaN of none.

    The cosines are the singular values of U Vᵀ for orthonormal U and V (Björck and Golub, Math. Comp. 27, 1973); of
    random spans of r and s ≤ r dimensions among d, r / d is expected.
    """
    least = min(len(one), len(two))
    return float((one @ two.T).square().sum()) / least if least else float("nan")


def recurrences(own: Groups, others: Sequence[tuple[str, Groups]]) -> list[Recurrence]:
    """For each finding of a run its counterparts in the other runs: of the same model, the likest of each.

    Args:
        own: the run's findings.
        others: of each other run its name and its findings, over the same passages.
    """
    found = []
    alike = {name: _correlations(own.activity, groups.activity) for name, groups in others}
    for number, side in enumerate(own.sides):
        counterparts = []
        for name, groups in others:
            same = [place for place, knows in enumerate(groups.sides) if knows == side]
            if not same:
                continue
            likest = max(same, key=lambda place: float(alike[name][number, place]))
            spans = {place: overlap(own.spans[number], groups.spans[place]) for place in same}
            rest = [value for place, value in spans.items() if place != likest and np.isfinite(value)]
            counterparts.append(
                Counterpart(
                    name,
                    likest,
                    groups.best[likest],
                    round(float(alike[name][number, likest]), 4),
                    _known(spans[likest]),
                    _known(max((value for value in spans.values() if np.isfinite(value)), default=float("nan"))),
                    _known(float(np.median(rest)) if rest else float("nan")),
                )
            )
        found.append(Recurrence(number, side, own.best[number], own.members[number], counterparts))
    return found


def _correlations(one: Tensor, two: Tensor) -> Tensor:
    """Correlations of rows with rows, (rows, rows); −1 of those that never fire."""

    def normed(values: Tensor) -> Tensor:
        apart = values - values.mean(dim=1, keepdim=True)
        return apart / apart.norm(dim=1, keepdim=True)

    return (normed(one) @ normed(two).T).nan_to_num(nan=-1.0)


def _known(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
