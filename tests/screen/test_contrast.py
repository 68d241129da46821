from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dfc.screen import contrast
from dfc.screen.contrast import Scores, separation

VALUES = some.sampled_from([0.0, 0.0, 0.5, 1.0, 2.0])
SETS = some.tuples(some.lists(VALUES, min_size=2, max_size=5), some.lists(VALUES, min_size=2, max_size=5))


def column(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def counted(first: list[float], second: list[float]) -> float:
    """AUROC as it is defined."""
    return sum((a > b) + 0.5 * (a == b) for a in first for b in second) / (len(first) * len(second))


@settings(max_examples=30, deadline=None)
@given(SETS)
def test_auroc_is_how_often_the_first_is_higher(sets: tuple[list[float], list[float]]) -> None:
    first, second = sets
    one = separation(column(first), column(second)).iloc[0]
    assert one["auroc"] == pytest.approx(counted(first, second))
    assert 0 <= one["low"] <= one["auroc"] <= one["high"] <= 1
    other = separation(column(second), column(first)).iloc[0]
    assert other[["auroc", "low", "high"]].tolist() == pytest.approx(1 - one[["auroc", "high", "low"]].to_numpy())
    assert other["p"] == pytest.approx(one["p"])


@settings(max_examples=30, deadline=None)
@given(SETS)
def test_the_variance_behind_p_is_that_of_all_divisions_of_the_prompts(sets: tuple[list[float], list[float]]) -> None:
    first, second = sets
    everything = np.array(first + second)
    found = []
    for chosen in combinations(range(len(everything)), len(first)):
        rest = np.delete(everything, chosen)
        found.append(counted(everything[list(chosen)].tolist(), rest.tolist()))
    spread = float(np.std(found))
    z = abs(counted(first, second) - 0.5) / spread if spread > 1e-9 else 0.0
    least = min(1.0, 2 / len(found))
    assert separation(column(first), column(second))["p"][0] == pytest.approx(max(math.erfc(z / 2**0.5), least))


def test_sets_that_are_apart_have_an_interval_all_the_same() -> None:
    one = separation(column([1.0] * 40), column([0.0] * 40)).iloc[0]
    assert (one["auroc"], one["high"]) == (1, 1)
    assert one["low"] == pytest.approx(0.950, abs=0.001)
    few = separation(column([1.0] * 3), column([0.0] * 3)).iloc[0]
    assert few["low"] < 0.6
    assert few["p"] == pytest.approx(2 / 20)  # no test of six prompts can say more


def test_an_end_of_the_interval_solves_its_equation() -> None:
    low, high = contrast.interval(np.array([0.8]), 30, 50)
    for end in (low[0], high[0]):
        spread = 1 + 39 * (1 - end) / (2 - end) + 39 * end / (1 + end)
        assert abs(end - 0.8) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) * spread / 1_500))


def drawn(on: float, off: float, worlds: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Scores of forty prompts of each set on which a feature fires with these chances, and the true AUROC."""
    draw = np.random.default_rng(0)
    first, second = (
        np.where(draw.random((40, worlds)) < share, draw.lognormal(size=(40, worlds)), 0) for share in (on, off)
    )
    return first, second, on * off / 2 + on * (1 - off) + (1 - on) * (1 - off) / 2


@pytest.mark.parametrize(("on", "off"), [(0.98, 0.02), (0.9, 0.2), (0.2, 0.2)])
def test_the_interval_holds_the_truth_as_often_as_it_says(on: float, off: float) -> None:
    first, second, truth = drawn(on, off, 1_000)
    found = separation(first, second)
    assert ((found["low"] <= truth) & (truth <= found["high"])).mean() >= 0.94


def test_delongs_interval_does_not_where_sets_are_nearly_apart() -> None:
    """DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988: why it is not the one that is used."""
    first, second, truth = drawn(0.98, 0.02, 1_000)
    wins = (first[:, None] > second[None]) + 0.5 * (first[:, None] == second[None])  # (first, second, worlds)
    auroc = wins.mean(axis=(0, 1))
    error = np.sqrt(wins.mean(axis=1).var(axis=0, ddof=1) / 40 + wins.mean(axis=0).var(axis=0, ddof=1) / 40)
    assert (np.abs(auroc - truth) <= 1.959964 * error).mean() < 0.8


def test_only_what_fires_often_enough_is_tested_and_all_tests_count() -> None:
    draw = np.random.default_rng(1)
    features, size = 2_100, 20  # more than one block
    dense = np.where(draw.random((2 * size, features)) < 0.3, draw.random((2 * size, features)), 0)
    dense[:, 7] = [1.0] * size + [0.0] * size
    dense[:, 2_050] = [0.0] * size + [2.0] * size
    dense[:, 8] = [1.0] * 4 + [0.0] * (2 * size - 4)
    sets = []
    for part in (dense[:size], dense[size:]):
        prompt, feature = np.nonzero(part)
        sets.append(Scores(size, prompt, feature, part[prompt, feature]))
    table = contrast.contrast(sets[0], sets[1], features).set_index("feature_id")
    assert set(table.index) == set(np.flatnonzero((dense > 0).sum(axis=0) >= contrast.LEAST_FIRINGS).tolist())
    assert 8 not in table.index
    assert set(table.index[table["q"] <= 0.05]) == {7, 2_050}
    assert table.loc[7, ["first", "second", "auroc"]].tolist() == [20, 0, 1]
    assert table.loc[2_050, ["first", "second", "auroc"]].tolist() == [0, 20, 0]
    assert table.loc[[7, 2_050], "shift"].tolist() == [1, -1]
    means = dense[:size, 9].mean(), dense[size:, 9].mean()
    assert table.loc[9, "shift"] == pytest.approx((means[0] - means[1]) / dense[:, 9].max())
    order = table["p"].rank(method="max")
    assert (table["q"] <= (table["p"] * len(table) / order).clip(upper=1) + 1e-12).all()


def test_sets_that_do_not_differ_pass_at_no_more_than_the_rate() -> None:
    """Of forty such contrasts about two may show anything."""
    draw, worlds, some_pass = np.random.default_rng(2), 40, 0
    for _ in range(worlds):
        dense = np.where(draw.random((40, 60)) < draw.random(60), draw.random((40, 60)), 0)
        first, second = (Scores(20, *np.nonzero(part), part[np.nonzero(part)]) for part in (dense[:20], dense[20:]))
        some_pass += bool((contrast.contrast(first, second, 60)["q"] <= 0.05).any())
    assert some_pass <= 5
