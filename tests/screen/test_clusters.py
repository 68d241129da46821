"""Groups of vectors and their picture, each against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.screen import clusters
from dfc.screen.clusters import Floats


def around(middles: int, size: int, noise: float, seed: int = 0, width: int = 12) -> tuple[Floats, np.ndarray]:
    """Vectors of length 1 around some middles, and the middle of each."""
    draw = np.random.default_rng(seed)
    of = np.arange(size) % middles
    vectors = draw.normal(size=(middles, width))[of] + noise * draw.normal(size=(size, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of


def sets(of: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(of == group).tolist()) for group in np.unique(of)}


def slowly(vectors: Floats) -> list[set[frozenset[int]]]:
    """All trees of Ward's: the two groups are merged whose union adds least to the squares within."""
    groups, trees = [[place] for place in range(len(vectors))], []

    def cost(one: list[int], other: list[int]) -> float:
        apart = vectors[one].astype(float).mean(axis=0) - vectors[other].astype(float).mean(axis=0)
        return len(one) * len(other) / (len(one) + len(other)) * float(apart @ apart)

    while len(groups) > 2:
        _, i, j = min((cost(groups[i], groups[j]), i, j) for i in range(len(groups)) for j in range(i))
        groups[j] += groups.pop(i)
        trees.append({frozenset(one) for one in groups})
    return trees


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1_000), size=st.integers(4, 16))
def test_groups_are_those_of_wards_linkage(seed: int, size: int) -> None:
    vectors, _ = around(size, size, 0.5, seed)
    cuts = clusters._cuts(clusters._merges(vectors), size)
    assert [sets(of) for of in cuts] == slowly(vectors)


def test_the_silhouette_by_its_definition() -> None:
    vectors, of = around(3, 20, 0.6)
    of = np.append(of[:-1], 3)  # one is alone
    far = 1 - vectors.astype(float) @ vectors.T.astype(float)
    figures = []
    for place, group in enumerate(of.tolist()):
        own = [other for other in np.flatnonzero(of == group).tolist() if other != place]
        if not own:
            figures.append(0.0)
            continue
        within = far[place, own].mean()
        beyond = min(far[place, of == other].mean() for other in set(of.tolist()) - {group})
        figures.append((beyond - within) / max(within, beyond))
    assert clusters._silhouette(vectors, of) == pytest.approx(np.mean(figures), abs=1e-5)


def test_as_many_groups_as_there_are() -> None:
    vectors, of = around(7, 200, 0.1)
    found = clusters.grouped(vectors)
    assert sets(found.of) == sets(of)
    assert np.bincount(found.of).tolist() == sorted(np.bincount(of).tolist(), reverse=True)
    assert found.silhouette > 0.8
    assert len(sets(clusters.grouped(vectors, 12).of)) == 12
    one = clusters.grouped(vectors, 1)
    assert set(one.of.tolist()) == {0}
    assert math.isnan(one.silhouette)


def test_there_are_never_more_than_forty() -> None:
    vectors, _ = around(120, 240, 0.01)
    assert len(sets(clusters.grouped(vectors).of)) == clusters.MOST
    assert len(sets(clusters.grouped(vectors, 90).of)) == clusters.MOST


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_a_few_or_none(size: int) -> None:
    vectors, _ = around(2, size, 0.3)
    found, picture = clusters.grouped(vectors), clusters.picture(vectors)
    assert found.of.shape == (size,)
    assert (len(sets(found.of)) == min(size, 1)) is (size < 3)
    assert picture.places.shape == (size, 2)
    assert np.isfinite(picture.places).all()
    assert math.isnan(picture.near)


def test_what_is_the_same_is_drawn_at_one_place() -> None:
    vectors, _ = around(1, 9, 0)
    assert np.abs(clusters.picture(vectors).places).max() < 1e-5
    assert math.isnan(clusters.picture(vectors).variance)
    assert len(clusters.grouped(vectors).of) == 9


def test_the_picture_is_of_the_two_principal_components() -> None:
    vectors, _ = around(5, 60, 0.4)
    made = clusters.picture(vectors)
    left, values, _ = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(made.places), np.abs(left[:, :2] * values[:2]), atol=1e-4)
    assert made.variance == pytest.approx((values[:2] ** 2).sum() / (values**2).sum(), abs=1e-4)
    np.testing.assert_array_equal(made.places, clusters.picture(vectors.copy()).places)

    def nearest(points: Floats, place: int) -> set[int]:
        far = ((points - points[place]) ** 2).sum(axis=1)
        return set(np.argsort(far)[1:6].tolist())

    shared = [len(nearest(vectors, one) & nearest(made.places, one)) / 5 for one in range(60)]
    assert made.near == pytest.approx(np.mean(shared))
