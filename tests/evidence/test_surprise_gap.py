"""The surprise gap of a feature, by hand and against sums written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfc.crosscoder.model import Codes
from dfc.evidence.surprise_gap import SurpriseSums

NAN = float("nan")


def codes(*entries: tuple[int, int, float]) -> Codes:
    rows, features, values = zip(*sorted(entries, key=lambda entry: entry[1]), strict=True)
    return Codes(torch.tensor(rows), torch.tensor(features), torch.tensor(values))


def test_by_hand() -> None:
    sums = SurpriseSums(3)
    # Feature 0 fires on rows 0 and 2, of two documents; feature 1 on row 3 alone, of which nothing is known.
    sums.add(
        codes((0, 0, 1.0), (2, 0, 3.0), (3, 1, 1.0)),
        torch.tensor([5, 5, 6, 6]),
        torch.tensor([[4.0, 2.0], [0.0, 2.0], [2.0, 4.0], [NAN, NAN]], dtype=torch.float64),
    )
    found = sums.gaps()
    middle, own = (4 / 4 + 2 / 4) / 2, (1 * 4 + 3 * 2) / (1 * 2 + 3 * 4)
    assert found.gap[0] == pytest.approx(own - middle)
    rest = [(4 - own * 2) ** 2, (6 - own * 12) ** 2]
    assert found.error[0] == pytest.approx(np.sqrt(sum(rest) * 2 / 1) / 14)
    assert np.isnan([found.gap[1], found.error[1], found.gap[2], found.error[2]]).all()


def test_one_document_has_no_error_and_nothing_at_all_gives_nothing() -> None:
    sums = SurpriseSums(2)
    assert np.isnan(sums.gaps().gap).all()
    ahead = torch.tensor([[1.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    sums.add(codes((0, 0, 1.0), (1, 0, 1.0)), torch.tensor([3, 3]), ahead)
    found = sums.gaps()
    assert found.gap[0] == pytest.approx(0)
    assert np.isnan(found.error[0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_batches_and_documents_across_them_make_no_difference(seed: int, step: int) -> None:
    random = np.random.default_rng(seed)
    rows = 40
    document = np.sort(random.integers(0, 6, rows))
    ahead = np.stack([random.normal(size=rows), random.integers(1, 9, rows)], axis=1).astype(float)
    ahead[random.random(rows) < 0.2] = NAN
    z = random.random((rows, 4)) * (random.random((rows, 4)) < 0.5)
    sums = SurpriseSums(4)
    for first in range(0, rows, step):
        part = torch.from_numpy(z[first : first + step])
        features, places = part.T.nonzero(as_tuple=True)
        sums.add(
            Codes(places, features, part[places, features].float()),
            torch.from_numpy(document[first : first + step]),
            torch.from_numpy(ahead[first : first + step]),
        )
    found = sums.gaps()
    known = np.isfinite(ahead[:, 0])
    whole = [ahead[known & (document == one)].sum(0) for one in set(document[known])]
    middle = np.median([nats / characters for nats, characters in whole]) if whole else NAN
    for feature in range(4):
        weight = np.where(known, z[:, feature], 0)
        fired = weight > 0
        if not fired.any():
            assert np.isnan(found.gap[feature])
            continue
        own = (weight[fired] * ahead[fired, 0]).sum() / (weight[fired] * ahead[fired, 1]).sum()
        assert found.gap[feature] == pytest.approx(own - middle, rel=1e-4, abs=1e-6)
        number = len(set(document[fired]))
        rest = [
            (weight[mine] * (ahead[mine, 0] - own * ahead[mine, 1])).sum() ** 2
            for mine in (fired & (document == one) for one in set(document[fired]))
        ]
        if number > 1:
            error = np.sqrt(sum(rest) * number / (number - 1)) / (weight[fired] * ahead[fired, 1]).sum()
            assert found.error[feature] == pytest.approx(error, rel=1e-4, abs=1e-6)
