"""What is selected in the scatter of decoder norms, short enough for the address.

A box is two corners, a lasso its outline with as few corners as keep its shape, a click the
feature itself: never the features inside, of which there may be a hundred thousand. Chart
and list are both drawn from what the address says, so that they cannot differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from dfc.ui.shell import address
from dfc.ui.shell.address import Place

Chart = Literal["norms", "raw", "cosine"]
COLUMNS: dict[Chart, tuple[str, str]] = {
    "norms": ("norm_a", "norm_b"),
    "raw": ("raw_norm_a", "raw_norm_b"),
    "cosine": ("relative_norm", "decoder_cosine"),
}
"""Which columns of `Store.norms` each chart draws, across and up."""

TITLES: dict[Chart, str] = {"norms": "both norms", "raw": "both raw norms", "cosine": "relative norm and cosine"}
"""What each chart is called on the page."""

MOST_CORNERS = 60
MOST_FEATURES = 50
MOST_OUTLINES = 12
_BOX_DIGITS, _LASSO_DIGITS = 4, 3  # as many as the eye aims at; nobody draws a lasso to a hair
_BETWEEN, _WITHIN = "~", "_"  # both stay as they are in an address

Outline = tuple[float, ...]
"""Of a box left, right, low, high; of a lasso x and y of one corner after another."""


@dataclass(frozen=True)
class Region:
    """Boxes and lassos in one chart, or single features where there are none of these.

    Attributes:
        chart: in which it was drawn.
        outlines: four numbers for a box, six or more for a lasso.
        features: that were clicked.
    """

    chart: Chart
    outlines: tuple[Outline, ...] = ()
    features: tuple[int, ...] = ()

    def pack(self) -> str:
        """As one parameter of the address; `unpack` reads it."""
        parts = [_WITHIN.join(f"{number:g}" for number in outline) for outline in self.outlines]
        if self.features:
            parts.append("f" + _WITHIN.join(map(str, self.features)))
        return _BETWEEN.join([self.chart, *parts])

    def contains(self, norms: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which features lie in it, drawn or not, (features,)."""
        if not self.outlines:
            return norms["feature_id"].isin(self.features).to_numpy()
        x, y = (norms[column].to_numpy() for column in COLUMNS[self.chart])
        inside = np.zeros(len(norms), dtype=np.bool_)
        for outline in self.outlines:
            if len(outline) == 4:
                left, right, low, high = outline
                inside |= (x >= left) & (x <= right) & (y >= low) & (y <= high)
            else:
                inside |= in_polygon(x, y, np.array(outline[::2]), np.array(outline[1::2]))
        return inside

    def members(self, norms: pd.DataFrame, alive_only: bool) -> list[int]:
        """Features in it, those that fire most first; a feature that the chart has no place for is not in it."""
        inside = self.contains(norms)
        rows = norms.loc[inside & norms["alive"].to_numpy() if alive_only else inside, ["feature_id", "density"]]
        order = np.lexsort((rows["feature_id"].to_numpy(), -rows["density"].to_numpy()))
        return [int(identity) for identity in rows["feature_id"].to_numpy()[order]]

    def shapes(self) -> list[dict[str, Any]]:
        """Its outlines as plotly draws selections."""
        drawn: list[dict[str, Any]] = []
        for outline in self.outlines:
            if len(outline) == 4:
                left, right, low, high = outline
                drawn.append({"type": "rect", "x0": left, "x1": right, "y0": low, "y1": high})
            else:
                corners = [f"{x:g},{y:g}" for x, y in zip(outline[::2], outline[1::2], strict=True)]
                drawn.append({"type": "path", "path": f"M{'L'.join(corners)}Z"})
        return drawn


def params(run_name: str, place: Place, page_rows: int) -> dict[str, str]:
    """The address of the chart with the selection that a place lies in, and the page of its list."""
    region = unpack(place.region)
    parameters = {"run": run_name, "region": place.region}
    if region is not None and region.chart != "norms":
        parameters["axes"] = region.chart
    if not place.query.alive_only:
        parameters["alive"] = "false"
    if place.position >= page_rows:
        parameters["page"] = str(place.position // page_rows + 1)
    return parameters


def selected(chart: Chart, selection: Any) -> Region | None:
    """The region of a selection as Streamlit gives plotly's; None where nothing is selected."""
    boxes = [
        tuple(_short(number, _BOX_DIGITS) for number in (*sorted(box["x"]), *sorted(box["y"])))
        for box in selection.get("box", [])
        if len(box.get("x", [])) >= 2
    ]
    lassos = [
        tuple(_short(number, _LASSO_DIGITS) for corner in _simplified(lasso["x"], lasso["y"]) for number in corner)
        for lasso in selection.get("lasso", [])
        if len(lasso.get("x", [])) >= 3
    ]
    outlines = tuple([*boxes, *lassos][:MOST_OUTLINES])
    if outlines:
        return Region(chart, outlines)
    points = [point for point in selection.get("points", []) if "customdata" in point]
    clicked = dict.fromkeys(int(np.ravel(point["customdata"])[0]) for point in points)
    return Region(chart, features=tuple(clicked)[:MOST_FEATURES]) if clicked else None


def unpack(text: str | None) -> Region | None:
    """What `pack` made; None of any other text."""
    name, *parts = (text or "").split(_BETWEEN)
    if name not in get_args(Chart) or len(parts) > MOST_OUTLINES + 1:
        return None
    outlines: list[Outline] = []
    features: tuple[int, ...] = ()
    try:
        for part in parts:
            if part.startswith("f"):
                numbers = [address.whole(number) for number in part[1:].split(_WITHIN)[:MOST_FEATURES]]
                if None in numbers:
                    return None
                features = tuple(number for number in numbers if number is not None)
            else:
                outlines.append(_outline(part))
    except ValueError:
        return None
    if not outlines and not features:
        return None
    return Region(name, tuple(outlines), features)  # type: ignore[arg-type]  # checked above


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


def _outline(text: str) -> Outline:
    """Four numbers or six and more.

    Raises:
        ValueError: if the text is neither.
    """
    numbers = tuple(float(number) for number in text.split(_WITHIN))
    if not all(map(math.isfinite, numbers)) or len(numbers) % 2 or not 4 <= len(numbers) <= 2 * MOST_CORNERS:
        raise ValueError(text)
    return numbers


def _short(number: float, digits: int) -> float:
    """Rounded to so many significant digits."""
    return float(f"{float(number):.{digits}g}")


def _simplified(x: list[float], y: list[float]) -> list[tuple[float, float]]:
    """Corners of an outline without those that hardly bend it (Visvalingam's): at most MOST_CORNERS.

    The corner that spans the smallest triangle with its neighbours goes first; a triangle of less than a
    ten-thousandth of the outline's extent is not missed.
    """
    corners = list(zip(map(float, x), map(float, y), strict=True))
    spread = (max(x) - min(x)) * (max(y) - min(y)) or 1.0
    while len(corners) > 3:
        areas = [_triangle(corners[i - 1], corners[i], corners[(i + 1) % len(corners)]) for i in range(len(corners))]
        least = int(np.argmin(areas))
        if areas[least] > 1e-4 * spread and len(corners) <= MOST_CORNERS:
            break
        del corners[least]
    return corners


def _triangle(one: tuple[float, float], two: tuple[float, float], three: tuple[float, float]) -> float:
    return abs((two[0] - one[0]) * (three[1] - one[1]) - (three[0] - one[0]) * (two[1] - one[1])) / 2
