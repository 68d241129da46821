"""The causal check in figures and words: by hand, and on texts whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dfc.config import Side
from dfc.report import bootstrap, causal
from dfc.report.causal import Causal

NAMES: dict[Side, str] = {"a": "One", "b": "Two"}


def rows(side: Side, kl: list[float], random: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature_id": 7,
            "side": side,
            "document": range(len(kl)),
            "held_out": [number % 2 == 0 for number in range(len(kl))],
            "firings": 1,
            "positions": 8,
            "kl": kl,
            "random": random,
        }
    )


def check(alike: bool) -> Causal:
    draw = np.random.default_rng(0)
    strength = draw.lognormal(size=40)
    other = strength if alike else draw.lognormal(size=40)
    noise = [draw.lognormal(size=40) * 0.05 for _ in range(2)]
    return causal.of(pd.concat([rows("a", list(strength), list(noise[0])), rows("b", list(other**2), list(noise[1]))]))


def test_ranks_share_ties() -> None:
    assert bootstrap.ranks(np.array([[3.0, 1.0, 3.0, 2.0]])).tolist() == [[2.5, 0.0, 2.5, 1.0]]
    x, y = np.random.default_rng(0).integers(0, 5, (2, 1, 30)).astype(float)
    expected = pd.Series(x[0]).rank().corr(pd.Series(y[0]).rank())
    assert bootstrap.rank_correlation(x, y)[0] == pytest.approx(expected)
    assert bootstrap.correlation(x, y)[0] == pytest.approx(np.corrcoef(x[0], y[0])[0, 1])


def test_a_figure_has_the_interval_of_its_draws() -> None:
    values = np.arange(100.0)
    found = bootstrap.figure(bootstrap.mean, values)
    assert found.value == 49.5
    assert found.low == pytest.approx(49.5 - 1.96 * values.std() / 10, abs=0.5)
    assert found.high == pytest.approx(49.5 + 1.96 * values.std() / 10, abs=0.5)
    assert np.isnan(bootstrap.figure(bootstrap.correlation, np.ones(5), np.arange(5.0)).low)


def test_what_agrees_is_told_from_what_does_not() -> None:
    same, other = check(True).agreement, check(False).agreement
    assert same is not None
    assert other is not None
    assert same.rank.value == pytest.approx(1)
    assert same.beyond.low > 0
    assert same.linear.value < 1  # which a square bends
    assert abs(other.rank.value) < 0.3
    assert other.beyond.low < 0


def test_effects_are_held_against_a_random_direction() -> None:
    [one] = causal.of(rows("a", [0.4, 0.2, 0.3], [0.1, 0.1, 0.1])).effects
    assert (one.texts, one.held_out) == (3, 2)
    assert one.own.value == pytest.approx(0.3)
    assert one.times.value == pytest.approx(3)
    assert one.sure
    [lame] = causal.of(rows("a", [0.1, 0.1, 0.2], [0.2, 0.1, 0.1])).effects
    assert not lame.sure


def test_it_is_weighed_for_and_against() -> None:
    good: list[str] = []
    bad: list[str] = []
    causal.weigh(check(True), "a", NAMES, good, bad)
    assert [line.split(" changes")[0] for line in good] == ["Without it One"]
    assert len(bad) == 2
    assert bad[0].startswith("Without it Two changes more")
    assert "same texts" in bad[1]
    sentence = causal.sentence(check(True), NAMES)
    assert sentence.startswith("Without it, on 40 (20 held out) texts, One changes by ")
    assert "correlate by 1.00 (1.00 to 1.00) in ranks" in sentence


def test_few_texts_say_nothing_of_agreement() -> None:
    few = causal.of(pd.concat([rows("a", [1.0] * 4, [0.1] * 4), rows("b", [1.0] * 4, [0.1] * 4)]))
    assert few.agreement is None
    assert len(few.effects) == 2
