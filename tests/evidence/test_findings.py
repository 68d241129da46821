"""Findings: chances, rates of false discoveries and groups, by hand and against plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.config import EvidenceConfig
from dfc.evidence import findings
from dfc.evidence.pieces import Profiles

NAN = float("nan")
CONFIG = EvidenceConfig()


@pytest.mark.parametrize(
    ("t", "documents", "chance"),
    [(2.0, 10_001, 0.02276), (2.0, 11, 0.03669), (3.0, 6, 0.01505), (1.0, 5, 0.18695), (5.0, 21, 3.445e-5)],
)
def test_chances_are_those_of_students_t(t: float, documents: int, chance: float) -> None:
    """Values of a table of Student's t, one-sided."""
    gap = np.array([CONFIG.surprise_gap + 0.01 * t, -CONFIG.surprise_gap - 0.01 * t])
    found = findings.p_values(gap, np.full(2, 0.01), np.full(2, documents), CONFIG)
    assert found == pytest.approx([chance, chance], rel=0.05)


def test_what_is_no_larger_than_the_threshold_or_fires_in_few_documents_is_no_finding() -> None:
    gap = np.array([CONFIG.surprise_gap, 0.001, 0.3, NAN, 0.3])
    error = np.array([0.001, 0.001, 0.001, NAN, NAN])
    found = findings.p_values(gap, error, np.array([50, 50, CONFIG.finding_documents - 1, 50, 50]), CONFIG)
    assert found[:2].tolist() == [0.5, 0.5]
    assert np.isnan(found[2:]).all()


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=30), st.floats(0.01, 0.5))
def test_those_pass_that_benjamini_and_hochberg_let_pass(chances: list[float], rate: float) -> None:
    chance = np.array(chances, dtype=float)
    tested = sorted(value for value in chances if not math.isnan(value))
    limits = [value for rank, value in enumerate(tested, 1) if value <= rate * rank / len(tested)]
    found = findings.false_discovery(chance)
    for value, at in zip(chances, found.tolist(), strict=True):
        if math.isnan(value):
            assert math.isnan(at)
        elif abs(at - rate) > 1e-9:  # a rate that is met to the last digit may fall either way
            assert (at <= rate) == (bool(limits) and value <= max(limits))


def _profiles(*rows: dict[int, float]) -> Profiles:
    entries = [(feature, *entry) for feature, row in enumerate(rows) for entry in sorted(row.items())]
    feature, document, weight = zip(*entries, strict=True)
    return Profiles(np.array(feature), np.array(document), np.array(weight, dtype=float))


def test_features_that_fire_in_the_same_documents_and_know_the_same_way_are_one_finding() -> None:
    profiles = _profiles(
        {0: 1.0, 1: 1.0, 2: 1.0},
        {1: 4.0, 2: 4.0, 3: 4.0},  # two of three documents are those of feature 0
        {7: 1.0, 8: 2.0},
        {0: 1.0, 1: 1.0, 2: 1.0},  # where feature 0 fires, but there the other model knows better
        {0: 9.0, 5: 991.0},  # hardly where feature 0 fires
        {0: 1.0, 1: 1.0, 2: 1.0},  # does not pass
    )
    toward_a = np.array([0.3, 0.2, 0.25, -0.4, 0.1, 0.3])
    error = np.array([0.01, 0.01, 0.01, 0.1, 0.01, 0.01])
    chance = np.array([0.001, 0.001, 0.05, 0.001, 0.001, 0.06])
    found = findings.grouped(toward_a, error, chance, profiles, CONFIG)
    assert [(group.side, group.members.tolist(), group.documents) for group in found] == [
        ("a", [0, 1], 4),
        ("a", [2], 2),
        ("b", [3], 3),
        ("a", [4], 2),
    ]
    assert found[0].likeness.tolist() == pytest.approx([1, 2 / 3])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_groups_are_those_of_dense_profiles(seed: int) -> None:
    random = np.random.default_rng(seed)
    features, documents = 12, 9
    dense = random.random((features, documents)) * (random.random((features, documents)) < 0.4)
    dense[:, 0] += dense.sum(1) == 0
    feature, document = dense.nonzero()
    toward_a, error = random.normal(size=features), np.full(features, 0.01)
    found = findings.grouped(
        toward_a, error, np.zeros(features), Profiles(feature, document, dense[feature, document]), CONFIG
    )
    unit = np.sqrt(dense) / np.linalg.norm(np.sqrt(dense), axis=1, keepdims=True)
    left = sorted(range(features), key=lambda one: -abs(toward_a[one]))
    expected = []
    while left:
        best, *others = left
        same = [one for one in others if toward_a[one] * toward_a[best] > 0]
        members = [best, *(one for one in same if unit[best] @ unit[one] >= CONFIG.group_likeness)]
        expected.append((members, int((dense[members].sum(0) > 0).sum())))
        left = [one for one in left if one not in members]
    assert [(group.members.tolist(), group.documents) for group in found] == expected
