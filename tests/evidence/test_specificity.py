"""Specificity over sources and reference distributions, on cases computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dfc.evidence import reference, specificity


def test_specificity_by_hand() -> None:
    pairs = np.array([100.0, 300.0, 0.0])
    counts = np.array([[25.0, 75.0, 0.0], [8.0, 0.0, 0.0], [0.0, 8.0, 0.0], [4.0, 4.0, 0.0]])
    found = specificity.over_sources(counts, pairs, even=0.0)
    assert found[:3].tolist() == pytest.approx([0, 1, 1])
    # Half in each: its entropy ln 2 over the cross-entropy (ln 4 + ln 4/3) / 2.
    assert found[3] == pytest.approx(1 - math.log(2) / ((math.log(4) + math.log(4 / 3)) / 2))


def test_few_firings_say_little() -> None:
    pairs = np.array([100.0, 300.0])
    counts = np.array([[0.0, 0.0], [1.0, 0.0], [10.0, 0.0], [10_000.0, 0.0]])
    none, one, ten, many = specificity.over_sources(counts, pairs)
    assert none == pytest.approx(0)
    assert none < one < 0.1 < ten < 0.99 < many < 1
    # Ten firings in the first and ten as the corpus: 12.5 and 7.5 of 20.
    p = np.array([0.625, 0.375])
    assert ten == pytest.approx(1 + (p * np.log(p)).sum() / -(p * np.log([0.25, 0.75])).sum())


def test_one_source_says_nothing() -> None:
    assert np.isnan(specificity.over_sources(np.array([[5.0], [0.0]]), np.array([100.0]))).all()
    assert np.isnan(specificity.over_sources(np.array([[5.0, 0.0]]), np.array([100.0, 0.0]))).all()


def test_distributions_are_quantiles_of_the_judged() -> None:
    values = np.array([0.0, 1.0, 3.0, np.nan, np.inf, 7.0, 9.0])
    partitions = np.array(["a", "a", "a", "a", "a", "b", "shared"])
    judged = np.array([True, True, True, True, True, True, False])
    found = reference.distributions({"probe_ratio": values, "nu_r": np.full(7, np.nan)}, partitions, judged)
    assert set(found["probe_ratio"]) == {"a", "b"}
    assert found["nu_r"] == {}
    of_a = found["probe_ratio"]["a"]
    assert len(of_a) == 101
    assert [of_a[level] for level in (0, 25, 50, 75, 100)] == pytest.approx([0, 0.5, 1, 2, 3])
    assert found["probe_ratio"]["b"] == [7.0] * 101
    table = reference.table(found).to_pylist()
    assert [(row["measure"], row["population"]) for row in table] == [("probe_ratio", "a"), ("probe_ratio", "b")]
