"""Groups of two runs, by where they fire and by their spans: by hand and on random spans."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfc.config import CrosscoderConfig
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.worlds import recurrence
from dfc.worlds.recurrence import Groups, Membership


def test_a_span_holds_most_of_what_is_written() -> None:
    vectors = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.1]))  # energies 9, 4, 1, 0.01: nine tenths by the first two
    assert torch.allclose(recurrence.span(vectors).abs(), torch.eye(4)[:2], atol=1e-6)
    assert recurrence.span(torch.zeros(3, 4)).shape == (0, 4)
    assert recurrence.span(torch.zeros(0, 4)).shape == (0, 4)
    assert len(recurrence.span(torch.eye(40))) == recurrence.DIMENSIONS


def test_overlap_is_the_mean_squared_cosine_of_principal_angles() -> None:
    axes = torch.eye(6)
    assert recurrence.overlap(axes[:2], axes[[1, 0]]) == pytest.approx(1)
    assert recurrence.overlap(axes[:1], axes[:4]) == pytest.approx(1), "the larger holds the smaller"
    assert recurrence.overlap(axes[:2], axes[2:4]) == 0
    turned = torch.stack([axes[0], (axes[1] + axes[2]) / 2**0.5])
    assert recurrence.overlap(axes[:2], turned) == pytest.approx((1 + 0.5) / 2)
    assert np.isnan(recurrence.overlap(axes[:0], axes[:2]))


def test_random_spans_overlap_as_much_as_is_expected() -> None:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(200):
        one, two = (torch.linalg.qr(torch.randn(60, rank, generator=generator)).Q.T for rank in (3, 6))
        made.append(recurrence.overlap(one, two))
    assert float(np.mean(made)) == pytest.approx(6 / 60, abs=0.01)


def test_groups_by_hand() -> None:
    torch.manual_seed(0)
    crosscoder = Crosscoder(CrosscoderConfig(features=10, exclusive_a=0.2, exclusive_b=0.2, k=2), (4, 5))
    finding = np.array([-1, 0, 1, -1, 0, 1, -1, -1, -1, -1])
    place = np.array([-1, 1, 0, -1, 0, 1, -1, -1, -1, -1])
    knows = np.array(["a" if one == 0 else "b" if one == 1 else "" for one in finding])
    features = torch.tensor([1, 1, 2, 4, 5, 7])
    codes = Codes(torch.tensor([0, 3, 2, 1, 2, 0]), features, torch.tensor([1.0, 2, 1, 3, 1, 9]))
    groups = recurrence.groups(Membership(finding, place, knows), codes, crosscoder, torch.tensor([0, 0, 1, 1]))
    assert (groups.sides, groups.best, groups.members) == (["a", "b"], [4, 2], [2, 2])
    norms = torch.zeros(10)
    for side in ("a", "b"):
        ids, vectors = crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        norms[ids] += vectors.square().sum(1)
    norms = norms.sqrt()
    expected = [[norms[1] + 3 * norms[4], 2 * norms[1]], [0, norms[2] + norms[5]]]
    assert torch.allclose(groups.activity, torch.tensor(expected, dtype=torch.float64), atol=1e-5)
    assert [one.shape[1] for one in groups.spans] == [4, 5]


def _groups(activity: list[list[float]], sides: str, spans: list[torch.Tensor]) -> Groups:
    numbers = list(range(10, 10 + len(sides)))
    return Groups(list(sides), numbers, [1] * len(sides), torch.tensor(activity).double().view(-1, 4), spans)  # type: ignore[arg-type]


def test_counterparts_are_of_the_same_model_and_the_likest() -> None:
    axes = torch.eye(4)
    own = _groups([[1, 0, 0, 2], [0, 1, 1, 0]], "ab", [axes[:1], axes[1:2]])
    other = _groups(
        [[0, 1, 1, 0], [0, 3, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]], "abaa", [axes[:2], axes[2:3], axes[3:], axes[:0]]
    )
    first, second = recurrence.recurrences(own, [("x", other), ("none", _groups([], "", []))])
    [alike] = first.counterparts
    assert (alike.run, alike.finding, alike.feature_id) == ("x", 2, 12)
    assert alike.correlation == pytest.approx(np.corrcoef([1, 0, 0, 2], [1, 0, 0, 1])[0, 1], abs=1e-4)
    assert (alike.overlap, alike.largest, alike.elsewhere) == (0.0, 1.0, 1.0)
    [only] = second.counterparts
    assert (only.finding, only.overlap, only.elsewhere) == (1, 0.0, None)
    assert (first.by_firing(0.5), first.by_span(0.5), second.by_firing(0.5), second.by_span(0.5)) == (1, 1, 1, 0)
