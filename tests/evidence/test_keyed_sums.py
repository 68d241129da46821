"""Sums by pairs of numbers, whenever they are merged."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch

from dfc.evidence import keyed_sums
from dfc.evidence.keyed_sums import KeyedSums


@pytest.mark.parametrize("pending", [1, 7, 1 << 20])
def test_they_are_those_of_a_dictionary(pending: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyed_sums, "_PENDING", pending)
    random = np.random.default_rng(pending)
    sums, expected = KeyedSums(2), defaultdict(lambda: np.zeros(2))
    for _ in range(9):
        pairs = random.integers(0, [4, 2**31], (5, 2)) if random.random() < 0.5 else random.integers(0, 3, (5, 2))
        values = random.normal(size=(5, 2))
        sums.add(torch.from_numpy(pairs[:, 0]), torch.from_numpy(pairs[:, 1]), torch.from_numpy(values))
        for pair, value in zip(pairs.tolist(), values, strict=True):
            expected[tuple(pair)] += value
    first, second, total = sums.total()
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == sorted(expected)
    assert total.numpy() == pytest.approx(np.array([expected[pair] for pair in sorted(expected)]))


def test_of_nothing_there_are_none() -> None:
    assert [len(part) for part in KeyedSums(3).total()] == [0, 0, 0]
