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

from dfc.config import PARTITIONS, VERDICTS, Partition, Side
from dfc.report.palette import THEMES, Theme, verdict_marks
from dfc.ui.charts import empty_figure, escape

Colouring = Literal["partition", "verdict", "density"]
_BINS = np.linspace(0, 1, 41)
_LEGEND = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
_NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Axes:
    """Two columns of `Store.norms` against each other.

    Attributes:
        x, y: names of the columns.
        x_title, y_title: what they are called.
        x_range, y_range: what is shown of them.
    """

    x: str
    y: str
    x_title: str
    y_title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]


def norm_axes(norms: pd.DataFrame, names: dict[Side, str]) -> Axes:
    """‖d_A‖ across, ‖d_B‖ up."""
    top_a, top_b = (float(norms[f"norm_{side}"].max()) or 1.0 for side in ("a", "b"))
    return Axes(
        "norm_a",
        "norm_b",
        f"‖d_A‖ in {names['a']}",
        f"‖d_B‖ in {names['b']}",
        (-0.02 * top_a, 1.04 * top_a),
        (-0.03 * top_b, 1.04 * top_b),
    )


def cosine_axes(norms: pd.DataFrame) -> Axes:
    """Relative norm across, cosine of the two decoder vectors through the stitch up."""
    low = min(0.0, float(norms["decoder_cosine"].min()))
    return Axes(
        "relative_norm",
        "decoder_cosine",
        "relative norm: 0 only B, 1 only A",
        "cosine of both decoder vectors",
        (-0.02, 1.02),
        (low - 0.05, 1.05),
    )


def relative_norms(norms: pd.DataFrame, labels: dict[Partition, str], theme: Theme) -> go.Figure:
    """Histogram of ‖d_A‖ / (‖d_A‖ + ‖d_B‖), the count on a logarithmic axis."""
    figure = empty_figure(theme, height=330)
    for partition in PARTITIONS:
        values = norms.loc[norms["partition"] == partition, "relative_norm"]
        counts, _ = np.histogram(values, _BINS)
        filled = counts > 0
        figure.add_bar(
            x=((_BINS[:-1] + _BINS[1:]) / 2)[filled],
            y=counts[filled],
            width=0.023,
            name=escape(labels[partition]),
            marker={"color": THEMES[theme].hue(partition).mark, "line": {"width": 0}},
            hovertemplate="%{y:,} features around %{x:.2f}<extra></extra>",
        )
    figure.update_layout(barmode="stack", legend=_LEGEND)
    figure.update_xaxes(
        title_text="relative norm: 0 only B, 1 only A", range=[-0.02, 1.02], tickvals=[0, 0.25, 0.5, 0.75, 1]
    )
    figure.update_yaxes(type="log", title_text="features (logarithmic)", dtick=1)
    return figure


def scatter(
    norms: pd.DataFrame, axes: Axes, colouring: Colouring, labels: dict[Partition, str], theme: Theme
) -> go.Figure:
    """One point a feature, drawn by WebGL."""
    figure = empty_figure(theme, height=480)
    for name, rows, marker in _groups(norms, colouring, labels, theme):
        if rows.empty:
            continue
        figure.add_scattergl(
            x=rows[axes.x].to_numpy(np.float32),
            y=rows[axes.y].to_numpy(np.float32),
            mode="markers",
            name=escape(name),
            customdata=rows["feature_id"].to_numpy(np.int32)[:, None],
            text=[escape(str(text))[:80] for text in rows["peak_token"]],
            marker={"size": 6, "line": {"width": 0}, **marker},
            hovertemplate="<b>feature %{customdata[0]}</b>  %{text}<br>%{x:.2f}, %{y:.2f}<extra></extra>",
        )
    figure.update_layout(legend=_LEGEND, hovermode="closest", dragmode="select", showlegend=colouring != "density")
    figure.update_xaxes(title_text=escape(axes.x_title), range=axes.x_range, zeroline=True)
    figure.update_yaxes(title_text=escape(axes.y_title), range=axes.y_range, zeroline=True)
    return figure


def within(norms: pd.DataFrame, axes: Axes, selection: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Which features lie in what was selected, drawn or not, (features,).

    Args:
        norms: the features.
        axes: what was drawn.
        selection: plotly's: corners of boxes, outlines of lassos, and single points with their `customdata`.
    """
    x, y = norms[axes.x].to_numpy(), norms[axes.y].to_numpy()
    inside = np.zeros(len(norms), dtype=np.bool_)
    outlines = [box for box in selection.get("box", []) if box.get("x")]
    for box in outlines:
        (left, right), (low, high) = sorted(box["x"]), sorted(box["y"])
        inside |= (x >= left) & (x <= right) & (y >= low) & (y <= high)
    lassos = [lasso for lasso in selection.get("lasso", []) if lasso.get("x")]
    for lasso in lassos:
        inside |= in_polygon(x, y, np.array(lasso["x"], dtype=float), np.array(lasso["y"], dtype=float))
    if outlines or lassos:
        return inside
    clicked = {int(np.ravel(point["customdata"])[0]) for point in selection.get("points", []) if "customdata" in point}
    return norms["feature_id"].isin(clicked).to_numpy()


def in_polygon(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    corners_x: npt.NDArray[np.float64],
    corners_y: npt.NDArray[np.float64],
) -> npt.NDArray[np.bool_]:
    """Which points lie within a closed outline: a ray from each crosses it an odd number of times, (points,)."""
    inside = np.zeros(len(x), dtype=np.bool_)
    for x1, y1, x2, y2 in zip(corners_x, corners_y, np.roll(corners_x, -1), np.roll(corners_y, -1), strict=True):
        if y1 != y2:
            inside ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside


def _groups(
    norms: pd.DataFrame, colouring: Colouring, labels: dict[Partition, str], theme: Theme
) -> Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]:
    """What is drawn in one colour, those that matter most on top: its name, its rows, its marker."""
    if colouring == "density":
        shades = np.log10(norms["density"].clip(lower=1e-7).to_numpy(np.float32))
        ticks = list(range(int(np.floor(shades.min())), 1)) if len(shades) else []
        bar = {"title": {"text": "density"}, "tickvals": ticks, "ticktext": [f"{10.0**tick:.0e}" for tick in ticks]}
        yield "features", norms, {"color": shades, "colorscale": "Cividis", "colorbar": bar, "opacity": 0.8}
        return
    if colouring == "verdict":
        yield _NOT_JUDGED, norms[norms["verdict"].isna()], {"color": THEMES[theme].line}
        for verdict in reversed(VERDICTS):
            marker = {"color": verdict_marks(theme)[verdict], "opacity": 0.75}
            yield verdict, norms[norms["verdict"] == verdict], marker
        return
    for partition in reversed(PARTITIONS):
        opacity = 0.55 if partition == "shared" else 0.8
        marker = {"color": THEMES[theme].hue(partition).mark, "opacity": opacity}
        yield labels[partition], norms[norms["partition"] == partition], marker
