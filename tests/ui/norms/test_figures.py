from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from dfc.config import Partition, Side
from dfc.ui.norms import figures
from dfc.ui.shell.charts import escape
from dfc.ui.shell.norm_region import Region

LABELS: dict[Partition, str] = {"a": "only <b>A</b>", "b": "only B", "shared": "both"}


def norms() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature_id": [3, 5, 8, 9],
            "partition": ["a", "b", "shared", "shared"],
            "density": [0.1, 0.01, 0.0, 0.5],
            "norm_a": [1.0, 0.0, 0.5, 0.4],
            "norm_b": [0.0, 1.0, 0.5, 0.1],
            "raw_norm_a": [10.0, 0.0, 5.0, 4.0],
            "raw_norm_b": [0.0, 300.0, 150.0, 30.0],
            "relative_norm": [1.0, 0.0, 0.5, 0.8],
            "decoder_cosine": [math.nan, math.nan, 0.9, -0.2],
            "verdict": ["exclusive", None, "unclear", "shared-like"],
            "peak_token": ["<i>x</i>", "y", "", "z"],
        }
    )


def test_histogram_counts_every_feature() -> None:
    figure = figures.relative_norms(norms(), LABELS, "light")
    assert {bar.name: sum(bar.y) for bar in figure.data} == {"only &lt;b&gt;A&lt;/b&gt;": 1, "only B": 1, "both": 2}
    assert figure.layout.legend.traceorder == "normal"  # of stacked bars, plotly turns it round
    points = figures.scatter(norms(), figures.norm_axes(norms(), {"a": "A", "b": "B"}), "partition", LABELS, "light")
    assert points.layout.legend.traceorder == "reversed"
    assert [trace.name for trace in points.data] == [bar.name for bar in reversed(figure.data)]


def test_the_median_of_the_shared_features_is_marked() -> None:
    [line] = figures.relative_norms(norms(), LABELS, "light").layout.shapes
    assert (line.x0, line.x1, line.name, line.showlegend) == (0.65, 0.65, figures.SHARED_MEDIAN, True)
    names: dict[Side, str] = {"a": "A", "b": "B"}
    for axes, middle in (
        (figures.norm_axes(norms(), names), (0.45, 0.3)),
        (figures.norm_axes(norms(), names, "raw", figures.RAW), (4.5, 90.0)),
        (figures.cosine_axes(norms()), (0.65, 0.35)),
    ):
        found = figures.shared_median(norms(), axes)
        assert found == pytest.approx(middle)
        figure = figures.scatter(norms(), axes, "density", LABELS, "dark", middle=found)
        assert [trace.name for trace in figure.data if trace.showlegend] == [figures.SHARED_MEDIAN]
        assert (figure.data[-1].x[0], figure.data[-1].y[0]) == pytest.approx(middle)
        assert figure.data[-1].customdata is None  # it is no feature, and cannot be selected
    alone = norms()[norms()["partition"] != "shared"]
    assert figures.shared_median(alone, figures.norm_axes(alone, names)) is None
    assert not figures.relative_norms(alone, LABELS, "light").layout.shapes


@pytest.mark.parametrize("colouring", ["partition", "verdict", "density"])
def test_scatter_draws_every_feature_once_and_no_markup(colouring: figures.Colouring) -> None:
    table = norms()
    figure = figures.scatter(table, figures.norm_axes(table, {"a": "A", "b": "B"}), colouring, LABELS, "dark")
    assert sorted(int(i) for trace in figure.data for i in np.ravel(trace.customdata)) == [3, 5, 8, 9]
    assert all("<" not in text for trace in figure.data for text in trace.text)


def test_a_selection_is_drawn_with_its_outline_and_what_lies_in_it() -> None:
    table = norms()
    region = Region("norms", ((0.3, 0.6, 0.05, 0.6),))
    axes = figures.norm_axes(table, {"a": "A", "b": "B"})
    figure = figures.scatter(table, axes, "partition", LABELS, "light", region)
    within = [int(i) for trace in figure.data for i in np.ravel(trace.customdata)[list(trace.selectedpoints)]]
    assert sorted(within) == [8, 9]
    [box] = figure.layout.selections
    assert (box.x0, box.x1, box.y0, box.y1) == (0.3, 0.6, 0.05, 0.6)


@pytest.mark.parametrize("colouring", ["partition", "verdict", "density"])
def test_each_point_lies_where_its_feature_does(colouring: figures.Colouring) -> None:
    table = norms().set_axis([7, 2, 9, 4])  # rows of a larger table
    figure = figures.scatter(table, figures.norm_axes(table, {"a": "A", "b": "B"}), colouring, LABELS, "light")
    drawn = {
        int(number): (float(x), float(y), str(text))
        for trace in figure.data
        for number, x, y, text in zip(np.ravel(trace.customdata), trace.x, trace.y, trace.text, strict=True)
    }
    assert drawn == {
        row.feature_id: (pytest.approx(row.norm_a), pytest.approx(row.norm_b), escape(row.peak_token))
        for row in table.itertuples()
    }
