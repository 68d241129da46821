"""Selection is exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.crosscoder.batch_topk import (
    Entries,
    argsort,
    exactly,
    largest_in_each_row,
    products,
    reaching,
    weighted_sums,
)


def entries_of(scores: torch.Tensor) -> Entries:
    return reaching([(0, scores, scores)], 0.0)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.lists(st.integers(0, 4), min_size=6, max_size=6), min_size=1, max_size=8),
    k=st.integers(1, 60),
    cut=st.integers(1, 5),
)
def test_exactly_k_even_among_ties(values: list[list[int]], k: int, cut: int) -> None:
    """Small whole numbers tie all the time."""
    dense = torch.tensor(values, dtype=torch.float32)
    parts, threshold = exactly([entries_of(dense[:, :cut]), entries_of(dense[:, cut:])], k)
    positive = int((dense > 0).sum())
    found = torch.cat([part.scores for part in parts])
    assert len(found) == min(k, positive)
    assert found.sort().values.tolist() == dense.flatten().topk(min(k, positive)).values.sort().values.tolist()
    assert float(threshold) == (float(found.min()) if positive >= k else 0.0)
    for part, block in zip(parts, (dense[:, :cut], dense[:, cut:]), strict=True):
        assert torch.equal(block[part.rows, part.columns], part.values)
        assert torch.all(part.rows.diff() >= 0)


@pytest.mark.parametrize("bound", [0.0, 0.3, 2.0])
def test_blocks_give_what_the_whole_gives(bound: float) -> None:
    torch.manual_seed(0)
    scores, values = torch.rand(20, 30), torch.rand(20, 30)
    blocks = [(at, values[:, at : at + 7], scores[:, at : at + 7]) for at in range(0, 30, 7)]
    found = reaching(blocks, bound)
    rows, columns = (scores >= bound).nonzero(as_tuple=True)
    assert torch.equal(found.rows, rows)
    assert sorted(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == list(
        zip(rows.tolist(), columns.tolist(), strict=True)
    )
    assert torch.equal(values[found.rows, found.columns], found.values)
    assert torch.equal(scores[found.rows, found.columns], found.scores)


def test_what_is_not_positive_is_never_active() -> None:
    assert len(entries_of(torch.tensor([[0.0, -1.0], [0.0, 0.5]])).rows) == 1


def test_largest_in_each_row() -> None:
    dense = torch.tensor([[3.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    columns = torch.tensor([4, 7, 9])
    for size in (1, 2, 3):
        blocks = list(zip(columns.split(size), dense.split(size, dim=1), strict=True))
        found = largest_in_each_row(blocks, 2, dense)
        assert found.rows.tolist() == [0, 0, 2, 2]
        assert found.columns.tolist() == [4, 9, 9, 7]
        assert found.values.tolist() == [3.0, 1.0, 3.0, 2.0]
    assert len(largest_in_each_row([], 2, dense).rows) == 0


def test_weighted_sums_with_empty_rows() -> None:
    rows, columns = torch.tensor([1, 1, 3]), torch.tensor([0, 2, 1])
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [10.0, 10.0]])
    total = weighted_sums(rows, columns, torch.tensor([2.0, 0.5, 3.0]), vectors, 5)
    assert total.tolist() == [[0, 0], [7, 5], [0, 0], [0, 3], [0, 0]]
    empty = torch.zeros(0, dtype=torch.long)
    assert weighted_sums(empty, empty, torch.zeros(0), vectors, 2).tolist() == [[0, 0], [0, 0]]


def test_products_are_of_the_entries_alone() -> None:
    left, right = torch.randn(4, 3), torch.randn(5, 3)
    rows, columns = torch.tensor([1, 1, 3]), torch.tensor([4, 0, 2])
    torch.testing.assert_close(products(rows, columns, left, right), (left @ right.T)[rows, columns])
    empty = torch.zeros(0, dtype=torch.long)
    assert products(empty, empty, left, right).tolist() == []


_NUMBERS = st.integers(0, 9) | st.integers(2**16 - 2, 2**16 + 2)  # around what 16 bits hold


@given(numbers=st.lists(st.integers(0, 9), max_size=30) | st.lists(_NUMBERS, max_size=30))
def test_argsort_is_stable(numbers: list[int]) -> None:
    order = argsort(torch.tensor(numbers, dtype=torch.long)).tolist()
    assert order == sorted(range(len(numbers)), key=lambda i: (numbers[i], i))
