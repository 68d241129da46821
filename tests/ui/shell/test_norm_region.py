from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.ui.shell import norm_region
from dfc.ui.shell.norm_region import Region, in_polygon, selected

numbers = st.floats(-100, 100).map(lambda number: float(f"{number:.4g}"))
outlines = st.tuples(numbers, numbers, numbers, numbers) | st.lists(
    st.tuples(numbers, numbers), min_size=3, max_size=norm_region.MOST_CORNERS
).map(lambda corners: tuple(number for corner in corners for number in corner))
regions = st.builds(
    Region,
    st.sampled_from(["norms", "cosine"]),
    st.lists(outlines, min_size=1, max_size=norm_region.MOST_OUTLINES).map(tuple),
) | st.builds(
    Region,
    st.sampled_from(["norms", "cosine"]),
    st.just(()),
    st.lists(st.integers(0, 200_000), min_size=1, max_size=norm_region.MOST_FEATURES).map(tuple),
)


def norms() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature_id": [3, 5, 8, 9],
            "alive": [True, True, False, True],
            "density": [0.1, 0.01, 0.0, 0.5],
            "norm_a": [1.0, 0.0, 0.5, 0.4],
            "norm_b": [0.0, 1.0, 0.5, 0.1],
            "relative_norm": [1.0, 0.0, 0.5, 0.8],
            "decoder_cosine": [math.nan, math.nan, 0.9, -0.2],
        }
    )


def test_a_box_takes_in_what_is_not_drawn_and_a_click_one_feature() -> None:
    table = norms()
    box = selected("norms", {"box": [{"x": [0.6, 0.3], "y": [0.05, 0.6]}], "points": []})
    assert box == Region("norms", ((0.3, 0.6, 0.05, 0.6),))
    assert box.pack() == "norms~0.3_0.6_0.05_0.6"
    assert box.members(table, alive_only=False) == [9, 8]
    assert box.members(table, alive_only=True) == [9]
    lasso = selected("norms", {"lasso": [{"x": [0.9, 1.1, 1.0], "y": [-0.1, -0.1, 0.2]}]})
    assert lasso is not None
    assert lasso.members(table, alive_only=True) == [3]
    click = selected("norms", {"points": [{"customdata": [5]}, {"customdata": [5]}]})
    assert click == Region("norms", features=(5,))
    assert click.members(table, alive_only=True) == [5]
    assert selected("norms", {"box": [], "lasso": [], "points": []}) is None


def test_a_chart_of_cosines_holds_only_what_has_one() -> None:
    everything = Region("cosine", ((-9.0, 9.0, -9.0, 9.0),))
    assert everything.members(norms(), alive_only=False) == [9, 8]


@given(regions)
def test_a_region_survives_the_address(region: Region) -> None:
    text = region.pack()
    assert norm_region.unpack(text) == region
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789~_.-+")


@given(st.text(max_size=60) | st.text("norms~_0123456789.f-", max_size=60).map("norms~".__add__))
def test_any_text_is_a_region_or_nothing(text: str) -> None:
    region = norm_region.unpack(text)
    assert region is None or region.members(norms(), alive_only=False) is not None


@pytest.mark.parametrize("text", ["norms", "norms~", "norms~1_2_3", "norms~nan_1_2_3", "norms~f-", "circle~1_2_3_4"])
def test_nonsense_is_no_region(text: str) -> None:
    assert norm_region.unpack(text) is None


def test_a_hand_drawn_outline_keeps_its_shape_in_few_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 700, endpoint=False)
    radius = 1 + 0.2 * np.cos(3 * angles)
    outline = {"x": (radius * np.cos(angles)).tolist(), "y": (radius * np.sin(angles)).tolist()}
    region = selected("norms", {"lasso": [outline]})
    assert region is not None
    [corners] = region.outlines
    assert 10 <= len(corners) // 2 <= norm_region.MOST_CORNERS
    assert len(region.pack()) < 1_000
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (2, 5_000))
    true = in_polygon(*points, np.array(outline["x"]), np.array(outline["y"]))
    kept = in_polygon(*points, np.array(corners[::2]), np.array(corners[1::2]))
    assert (true != kept).mean() < 0.01


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), max_size=30), st.integers(5, 40))
def test_polygon_against_a_circle(points: list[tuple[float, float]], corners: int) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    x, y = np.array([p[0] for p in points]), np.array([p[1] for p in points])
    found = in_polygon(x, y, np.cos(angles), np.sin(angles))
    distance = np.hypot(x, y)
    assert found[distance < np.cos(np.pi / corners) - 1e-9].all()
    assert not found[distance > 1 + 1e-9].any()
