"""The surprise gaps of a feature, by hand and against sums written out row by row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.crosscoder.model import Codes
from dfc.evidence import matching
from dfc.evidence.following import Following
from dfc.evidence.surprise_gap import Gaps, SurpriseSums

NAN = float("nan")
Numbers = npt.NDArray[np.float64]


def codes(*entries: tuple[int, int, float]) -> Codes:
    rows, features, values = zip(*sorted(entries, key=lambda entry: entry[1]), strict=True)
    return Codes(torch.tensor(rows), torch.tensor(features), torch.tensor(values))


def following(
    ahead: list[list[float]] | Numbers,
    cell: list[int] | npt.NDArray[np.int64],
    passage: npt.ArrayLike,
    rarity: npt.ArrayLike = 0.0,
) -> Following:
    """What follows rows, the nats beyond what their cells' rows come to together; two cells share a slope of rarity."""
    nats, characters = np.array(ahead, dtype=np.float64).T
    known = np.isfinite(nats)
    numbers, passages = np.where(known, cell, -1), np.where(known, passage, -1)
    slope = np.where(known, numbers // 2, -1)
    both = np.full((len(nats), 2), NAN)
    distinct = np.unique(numbers[known], return_inverse=True)[1], np.unique(slope[known], return_inverse=True)[1]
    rare = np.broadcast_to(np.asarray(rarity, dtype=np.float64), nats.shape)[known]
    both[known] = np.stack(matching.unexpected(*distinct, np.stack([nats, characters], 1)[known], rare), 1)
    return Following(*map(torch.from_numpy, (nats, characters, *both.T, numbers, slope, passages)))


def test_by_hand() -> None:
    sums = SurpriseSums(3)
    # Feature 0 fires on rows 0 and 2, of two documents; feature 1 on row 3 alone, of which nothing is known.
    sums.add(
        codes((0, 0, 1.0), (2, 0, 3.0), (3, 1, 1.0)),
        torch.tensor([5, 5, 6, 6]),
        following([[4.0, 2.0], [0.0, 2.0], [2.0, 4.0], [NAN, NAN]], [0, 0, 0, 0], [0, 1, 2, 2]),
    )
    found = sums.gaps()
    own = (1 * 4 + 3 * 2) / (1 * 2 + 3 * 4)
    assert found.plain.gap[0] == pytest.approx(own)
    rest, count = [(4 - own * 2) ** 2, (6 - own * 12) ** 2], (2 + 12) ** 2 / (2**2 + 12**2)
    assert found.documents[0] == pytest.approx(count)
    assert found.plain.error[0] == pytest.approx(np.sqrt(sum(rest) * count / (count - 1)) / 14)
    # Only row 1 does not fire, and surprises both alike: what is expected is 0.
    assert found.matched.gap[0] == pytest.approx(own)
    assert found.share[0] == 1
    for gap in (found.plain, found.matched, found.held_out):
        assert np.isnan([gap.gap[1], gap.error[1], gap.gap[2], gap.error[2]]).all()
    profiles = found.profiles
    assert [profiles.feature.tolist(), profiles.passage.tolist()] == [[0, 0], [0, 2]]
    assert profiles.weight.tolist() == [2, 12]
    assert profiles.document.tolist() == [5, 5, 6]
    assert profiles.characters.tolist() == [2, 2, 4]


def test_a_feature_that_fires_at_all_places_of_a_kind_is_not_matched_there() -> None:
    sums = SurpriseSums(2)
    # Feature 0 fires on all rows of cell 1 and on one of two of cell 0; feature 1 on all of cell 1 alone.
    ahead = [[1.0, 1.0], [0.0, 1.0], [9.0, 1.0], [7.0, 1.0]]
    sums.add(
        codes((0, 0, 1.0), (2, 0, 1.0), (3, 0, 1.0), (2, 1, 1.0), (3, 1, 1.0)),
        torch.tensor([0, 1, 2, 3]),
        following(ahead, [0, 0, 1, 1], [0, 1, 2, 3]),
    )
    found = sums.gaps()
    assert found.matched.gap[0] == pytest.approx(1.0)
    assert found.share[0] == pytest.approx(1 / 3)
    assert np.isnan(found.matched.gap[1])
    assert found.share[1] == 0


def test_one_document_has_no_error_and_nothing_at_all_gives_nothing() -> None:
    sums = SurpriseSums(2)
    assert np.isnan(sums.gaps().plain.gap).all()
    sums.add(codes((0, 0, 1.0), (1, 0, 1.0)), torch.tensor([3, 3]), following([[1.0, 1.0], [1.0, 2.0]], [0, 0], [0, 0]))
    found = sums.gaps()
    assert found.plain.gap[0] == pytest.approx(2 / 3)
    assert np.isnan([found.plain.error[0], found.matched.error[0]]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_sums_over_batches_are_those_over_all_rows(seed: int, step: int) -> None:
    random = np.random.default_rng(seed)
    rows = 40
    document = np.sort(random.integers(0, 6, rows))
    held_out = document % 2 == 1
    ahead = np.stack([random.normal(size=rows), random.integers(1, 9, rows)], axis=1).astype(float)
    ahead[random.random(rows) < 0.2] = NAN
    z = np.float32(random.random((rows, 4)) * (random.random((rows, 4)) < 0.5)).astype(float)
    passage = np.arange(rows) // 3 + 20 * document  # several of a document, none of two
    follows = following(ahead, random.integers(0, 3, rows), passage, 9 * random.random(rows))
    sums = SurpriseSums(4)
    for out in (False, True):
        for first in range(0, rows, step):
            own = torch.from_numpy(np.flatnonzero(held_out[first : first + step] == out)) + first
            part = torch.from_numpy(z)[own]
            features, places = part.T.nonzero(as_tuple=True)
            chosen = Codes(places, features, part[places, features].float())
            sums.add(chosen, torch.from_numpy(document)[own], follows.take(own), out)
    found = sums.gaps()
    _check(found, z, document, held_out, ahead, follows)
    profiles, beyond, known = found.profiles, follows.beyond.numpy(), follows.cell.numpy() >= 0
    entries = zip(profiles.feature, profiles.passage, profiles.weight, profiles.beyond, strict=True)
    for feature, where, weight, nats in entries:
        own = known & (passage == where) & (z[:, feature] > 0)
        assert weight == pytest.approx((z[own, feature] * ahead[own, 1]).sum())
        assert nats == pytest.approx((z[own, feature] * beyond[own]).sum(), abs=1e-6)
        assert profiles.document[where] == document[own][0]
        assert profiles.characters[where] == ahead[known & (passage == where), 1].sum()
    fired = {(feature, one) for feature in range(4) for one in passage[known & (z[:, feature] > 0)].tolist()}
    assert set(zip(profiles.feature.tolist(), profiles.passage.tolist(), strict=True)) == fired


def _check(found: Gaps, z: Numbers, document: Numbers, held_out: Numbers, ahead: Numbers, follows: Following) -> None:
    """The gaps of features against their definitions, each row's matched places looked up by themselves."""
    cell, slope, plain, rare = (
        column.numpy() for column in (follows.cell, follows.slope, follows.beyond, follows.rare)
    )
    known = cell >= 0
    total = {one: ahead[cell == one, 1].sum() for one in set(cell[known])}
    squares = {one: max(np.square(rare[slope == one]).sum(), 1e-300) for one in set(slope[known])}
    for feature in range(z.shape[1]):
        fired = known & (z[:, feature] > 0)
        gap, error = _ratio(z[:, feature], ahead[:, 0], ahead[:, 1], fired, document)
        assert _alike(found.plain.gap[feature], gap)
        assert _alike(found.plain.error[feature], error)

        rest = {one: (cell == one) & ~fired for one in total}
        matched = fired & np.isin(cell, [one for one in total if ahead[rest[one], 1].sum() >= 0.1 * total[one]])
        expected = {one: plain[rest[one]].sum() / ahead[rest[one], 1].sum() for one in set(cell[matched])}
        beyond = np.array([plain[r] - expected.get(cell[r], NAN) * ahead[r, 1] for r in range(len(z))])
        for some, there in ((fired, found.matched), (fired & held_out, found.held_out)):
            gap = _ratio(z[:, feature], beyond, ahead[:, 1], matched & some, document)[0]
            whole = _weight(z, ahead, feature, some)
            of_cell = {one: _weight(z, ahead, feature, some & (cell == one)) / whole if whole else NAN for one in total}
            of_slope = {
                one: (z[:, feature] * rare)[some & (slope == one)].sum() / whole if whole else NAN for one in squares
            }
            moved = {
                one: sum(of_cell[c] * plain[(cell == c) & (document == one)].sum() / total[c] for c in total)
                + sum(
                    of_slope[s] * (rare * plain)[(slope == s) & (document == one)].sum() / squares[s] for s in squares
                )
                for one in set(document[known])
            }
            weight = {one: _weight(z, ahead, feature, matched & some & (cell == one)) for one in expected}
            own = sum(weight.values())
            grown = sum(weight[one] * total[one] / ahead[rest[one], 1].sum() for one in weight) / own if own else NAN
            error = grown * _ratio(z[:, feature], plain, ahead[:, 1], some, document, moved)[1]
            assert _alike(there.error[feature], error)
            assert _alike(there.gap[feature], NAN if there is found.held_out and np.isnan(error) else gap)
        assert _alike(found.share[feature], _weight(z, ahead, feature, matched) / _weight(z, ahead, feature, fired))


def _weight(z: Numbers, ahead: Numbers, feature: int, some: Numbers) -> float:
    return float((z[some, feature] * ahead[some, 1]).sum())


def _ratio(
    weight: Numbers,
    upper: Numbers,
    lower: Numbers,
    some: Numbers,
    document: Numbers,
    moved: dict[int, float] | None = None,
) -> tuple[float, float]:
    """Weighted ratio over some rows, and its standard error with documents as clusters.

    With `moved`, each document moves what the ratio is compared with as well, by so much.
    """
    if not some.any():
        return NAN, NAN
    total = (weight * lower)[some].sum()
    ratio = (weight * upper)[some].sum() / total
    moves = {
        one: (weight * (upper - ratio * lower))[some & (document == one)].sum() / total for one in set(document[some])
    }
    weights = np.array([(weight * lower)[some & (document == one)].sum() for one in moves])
    count = weights.sum() ** 2 / np.square(weights).sum()  # as many as would weigh evenly
    squares = sum((moves.get(one, 0) - (moved or {}).get(one, 0)) ** 2 for one in set(moves) | set(moved or {}))
    return ratio, np.sqrt(squares * count / (count - 1)) if len(moves) > 1 else NAN


def _alike(one: float, other: float) -> bool:
    return bool(np.isclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True))
