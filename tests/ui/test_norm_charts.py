from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.config import Partition
from dfc.ui import norm_charts

LABELS: dict[Partition, str] = {"a": "only <b>A</b>", "b": "only B", "shared": "both"}


def norms() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature_id": [3, 5, 8, 9],
            "partition": ["a", "b", "shared", "shared"],
            "density": [0.1, 0.01, 0.0, 0.5],
            "norm_a": [1.0, 0.0, 0.5, 0.4],
            "norm_b": [0.0, 1.0, 0.5, 0.1],
            "relative_norm": [1.0, 0.0, 0.5, 0.8],
            "decoder_cosine": [math.nan, math.nan, 0.9, -0.2],
            "verdict": ["exclusive", None, "unclear", "shared-like"],
            "peak_token": ["<i>x</i>", "y", "", "z"],
        }
    )


def test_histogram_counts_every_feature() -> None:
    figure = norm_charts.relative_norms(norms(), LABELS, "light")
    assert {bar.name: sum(bar.y) for bar in figure.data} == {"only &lt;b&gt;A&lt;/b&gt;": 1, "only B": 1, "both": 2}


@pytest.mark.parametrize("colouring", ["partition", "verdict", "density"])
def test_scatter_draws_every_feature_once_and_no_markup(colouring: norm_charts.Colouring) -> None:
    table = norms()
    figure = norm_charts.scatter(table, norm_charts.norm_axes(table, {"a": "A", "b": "B"}), colouring, LABELS, "dark")
    assert sorted(int(i) for trace in figure.data for i in np.ravel(trace.customdata)) == [3, 5, 8, 9]
    assert all("<" not in text for trace in figure.data for text in trace.text)


def test_a_box_takes_in_what_is_not_drawn_and_a_click_one_feature() -> None:
    table = norms()
    axes = norm_charts.norm_axes(table, {"a": "A", "b": "B"})
    box = {"box": [{"x": [0.6, 0.3], "y": [0.05, 0.6]}], "points": []}
    assert norm_charts.within(table, axes, box).tolist() == [False, False, True, True]
    lasso = {"lasso": [{"x": [0.9, 1.1, 1.0], "y": [-0.1, -0.1, 0.2]}]}
    assert norm_charts.within(table, axes, lasso).tolist() == [True, False, False, False]
    click = {"points": [{"customdata": [5]}]}
    assert norm_charts.within(table, axes, click).tolist() == [False, True, False, False]
    assert not norm_charts.within(table, axes, {}).any()


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), max_size=30), st.integers(5, 40))
def test_polygon_against_a_circle(points: list[tuple[float, float]], corners: int) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    x, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    found = norm_charts.in_polygon(x, y, np.cos(angles), np.sin(angles))
    distance = np.hypot(x, y)
    assert found[distance < np.cos(np.pi / corners) - 1e-9].all()
    assert not found[distance > 1 + 1e-9].any()
