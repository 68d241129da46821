"""The charts of the decoder norms: how features spread, coloured by what is asked of them.

Columns go to plotly as arrays, which it sends as bytes: lists of numbers would be written out as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from dfc.config import PARTITIONS, VERDICTS, Partition, Side
from dfc.report.palette import THEMES, Theme, verdict_marks
from dfc.ui.shell.charts import escape, figure_of
from dfc.ui.shell.norm_region import COLUMNS, Chart, Region

Colouring = Literal["partition", "verdict", "density"]
NormChart = Literal["norms", "raw"]
TYPICAL, RAW, SCALED = "in its typical deviation", "in units of its stream", "in the crosscoder's scaled space"
"""What norms are measured in; the last is how stores of before schema 7 have them."""
SHARED_MEDIAN = "median of the shared features"
_BINS = np.linspace(0, 1, 41)
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Axes:
    """What a scatter draws against each other.

    Attributes:
        chart: which columns of `Store.norms` these are.
        x_title, y_title: what they are called.
        x_range, y_range: what is shown of them.
    """

    chart: Chart
    x_title: str
    y_title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    @property
    def columns(self) -> tuple[str, str]:
        """Names of the columns, across and up."""
        return COLUMNS[self.chart]


def norm_axes(norms: pd.DataFrame, names: dict[Side, str], chart: NormChart = "norms", unit: str = TYPICAL) -> Axes:
    """‖d_A‖ across, ‖d_B‖ up, as the chart's columns have them; `unit` is what they are measured in, in words."""
    top_a, top_b = (float(norms[column].max()) or 1.0 for column in COLUMNS[chart])
    return Axes(
        chart,
        f"‖d_A‖ in {names['a']}, {unit}",
        f"‖d_B‖ in {names['b']}, {unit}",
        (-0.02 * top_a, 1.04 * top_a),
        (-0.03 * top_b, 1.04 * top_b),
    )


def cosine_axes(norms: pd.DataFrame) -> Axes:
    """Relative norm across, cosine of the two decoder vectors through the stitch up."""
    low = min(0.0, float(norms["decoder_cosine"].min()))
    return Axes(
        "cosine",
        "relative norm: 0 only B, 1 only A",
        "cosine of both decoder vectors",
        (-0.02, 1.02),
        (low - 0.05, 1.05),
    )


def relative_norms(norms: pd.DataFrame, labels: dict[Partition, str], theme: Theme) -> go.Figure:
    """Histogram of ‖d_A‖ / (‖d_A‖ + ‖d_B‖), the count on a logarithmic axis; a line is the shared features' median."""
    bars: list[dict[str, Any]] = []
    relative = norms["relative_norm"].to_numpy()
    for partition in PARTITIONS:
        counts, _ = np.histogram(relative[(norms["partition"] == partition).to_numpy()], len(_BINS) - 1, (0.0, 1.0))
        filled = counts > 0
        bars.append(
            {
                "type": "bar",
                "x": ((_BINS[:-1] + _BINS[1:]) / 2)[filled],
                "y": counts[filled],
                "width": 0.023,
                "name": escape(labels[partition]),
                "marker": {"color": THEMES[theme].hue(partition).mark, "line": {"width": 0}},
                "hovertemplate": "%{y:,} features around %{x:.2f}<extra></extra>",
            }
        )
    layout: dict[str, Any] = {
        "barmode": "stack",
        "legend": _LEGEND | {"traceorder": "normal"},
        "xaxis": {
            "title": {"text": "relative norm: 0 only B, 1 only A"},
            "range": [-0.02, 1.02],
            "tickvals": [0, 0.25, 0.5, 0.75, 1],
        },
        "yaxis": {"type": "log", "title": {"text": "features (logarithmic)"}, "dtick": 1},
    }
    shared = relative[(norms["partition"] == "shared").to_numpy()]
    if len(shared):
        middle = float(np.median(shared))
        line = {"color": THEMES[theme].ink, "width": 1.5, "dash": "dash"}
        ends = {"x0": middle, "x1": middle, "xref": "x", "y0": 0, "y1": 1, "yref": "y domain"}
        layout["shapes"] = [{"type": "line", **ends, "line": line, "name": SHARED_MEDIAN, "showlegend": True}]
    return figure_of(theme, 330, bars, layout)


def shared_median(norms: pd.DataFrame, axes: Axes) -> tuple[float, float] | None:
    """The median of the shared features across and up; None if there are none."""
    shared = (norms["partition"] == "shared").to_numpy()
    points = np.stack([norms[column].to_numpy(np.float64)[shared] for column in axes.columns], axis=1)
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points):
        return None
    across, up = np.median(points, axis=0).tolist()
    return across, up


def scatter(
    norms: pd.DataFrame,
    axes: Axes,
    colouring: Colouring,
    labels: dict[Partition, str],
    theme: Theme,
    region: Region | None = None,
    middle: tuple[float, float] | None = None,
) -> go.Figure:
    """One point a feature, drawn by WebGL; those outside `region` are pale, and its outlines are drawn on its own axes.

    A cross marks `middle`, the shared features' median.
    """
    traces: list[dict[str, Any]] = []
    across, up = (norms[column].to_numpy(np.float32) for column in axes.columns)
    ids = norms["feature_id"].to_numpy(np.int32)[:, None]
    selected = None if region is None else region.contains(norms)
    codes, tokens = pd.factorize(norms["peak_token"])
    # An array of text, not a list of texts: plotly looks at each of those.
    words = np.array([escape(str(token))[:80] for token in tokens], str)
    for name, rows, marker in _groups(norms, colouring, labels, theme):
        if not len(rows):
            continue
        traces.append(
            {
                "type": "scattergl",
                "x": across[rows],
                "y": up[rows],
                "mode": "markers",
                "name": escape(name),
                "customdata": ids[rows],
                "text": words[codes[rows]],
                "marker": {"size": 6, "line": {"width": 0}, **marker},
                "hovertemplate": "<b>feature %{customdata[0]}</b>  %{text}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
                "selectedpoints": None if selected is None else np.flatnonzero(selected[rows]),
                "showlegend": colouring != "density",
            }
        )
    if middle is not None:
        cross = {"symbol": "cross-thin", "size": 18, "line": {"color": THEMES[theme].ink, "width": 2.5}}
        traces.append(
            {
                "type": "scattergl",
                "x": [middle[0]],
                "y": [middle[1]],
                "mode": "markers",
                "name": SHARED_MEDIAN,
                "marker": cross,
                "unselected": {"marker": {"opacity": 1}},
                "hovertemplate": f"{SHARED_MEDIAN}<br>%{{x:.3g}}, %{{y:.3g}}<extra></extra>",
                "showlegend": True,
            }
        )
    # Under the chart, whose tool bar lies over its head; those on top, which are drawn last, first.
    legend = _LEGEND | {"traceorder": "reversed", "y": 0, "yref": "container", "yanchor": "bottom"}
    line = {"color": THEMES[theme].muted, "width": 1.5, "dash": "dot"}
    shapes = region.shapes() if region is not None and region.chart == axes.chart else []
    layout = {
        "legend": legend,
        "hovermode": "closest",
        "dragmode": "select",
        "margin": {"b": 92},
        "newselection": {"line": line},
        "selections": [shape | {"line": line} for shape in shapes],
        "xaxis": {"title": {"text": escape(axes.x_title)}, "range": axes.x_range, "zeroline": True},
        "yaxis": {"title": {"text": escape(axes.y_title)}, "range": axes.y_range, "zeroline": True},
    }
    return figure_of(theme, 480, traces, layout)


def _groups(
    norms: pd.DataFrame, colouring: Colouring, labels: dict[Partition, str], theme: Theme
) -> Iterator[tuple[str, npt.NDArray[np.intp], dict[str, Any]]]:
    """What is drawn in one colour, those that matter most on top: its name, the places of its rows, its marker."""
    if colouring == "density":
        shades = np.log10(norms["density"].clip(lower=1e-7).to_numpy(np.float32))
        ticks = list(range(int(np.floor(shades.min())), 1)) if len(shades) else []
        words = [f"{100 * 10.0**tick:g} %" for tick in ticks]
        bar = {"title": {"text": "fires on"}, "tickvals": ticks, "ticktext": words, "outlinewidth": 0}
        # Without the end that the page's own colour would swallow.
        first, last = (0.25, 1.0) if theme == "dark" else (0.0, 0.88)
        scale = sample_colorscale("Cividis", list(np.linspace(first, last, 9)))
        yield "features", np.arange(len(norms)), {"color": shades, "colorscale": scale, "colorbar": bar, "opacity": 0.8}
        return
    if colouring == "verdict":
        yield _NOT_JUDGED, np.flatnonzero(norms["verdict"].isna()), {"color": THEMES[theme].line}
        for verdict in reversed(VERDICTS):
            marker = {"color": verdict_marks(theme)[verdict], "opacity": 0.75}
            yield verdict, np.flatnonzero(norms["verdict"] == verdict), marker
        return
    for partition in reversed(PARTITIONS):
        opacity = 0.55 if partition == "shared" else 0.8
        marker = {"color": THEMES[theme].hue(partition).mark, "opacity": opacity}
        yield labels[partition], np.flatnonzero(norms["partition"] == partition), marker
