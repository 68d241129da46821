"""A feature's number on the spread of the same measure over other features, as a small drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dfc.config import Partition

_WIDTH, _ROW, _BAR = 220, 14, 7
_LEFT = 2


@dataclass(frozen=True)
class Population:
    """Features that the number is compared with.

    Attributes:
        title: what they are called.
        tone: whose colour they have; None: that of no model.
        quantiles: of the measure among them, at even steps from 0 to 1.
    """

    title: str
    tone: Partition | None
    quantiles: Sequence[float]


def strip(value: float | None, populations: Sequence[Population], low: float = 0.0, high: float = 1.0) -> str:
    """An SVG as HTML: for each population a bar over its middle 90 %, a thick one over its middle half, its median,
    and through all of them a line at the feature's own number.

    Args:
        value: the feature's; no line where there is none.
        populations: drawn one under the other; those without quantiles are left out.
        low, high: ends of the axis; what lies beyond is drawn at the end.
    """
    known = [population for population in populations if len(population.quantiles)]
    if not known:
        return ""
    height = _ROW * len(known) + 4
    rows = "".join(_row(population, 2 + _ROW * place, low, high) for place, population in enumerate(known))
    line = ""
    if value is not None and math.isfinite(value):
        x = _x(value, low, high)
        line = f'<line class="own" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>'
    return (
        f'<svg class="dfc-strip" viewBox="0 0 {_WIDTH + 2 * _LEFT} {height}" role="img" '
        f'aria-label="{escape(_words(value, known))}"><title>{escape(_words(value, known))}</title>{rows}{line}</svg>'
    )


def share_below(value: float, quantiles: Sequence[float]) -> float:
    """Which share of a population lies below a number, from its quantiles at even steps; between two, in proportion."""
    steps = len(quantiles) - 1
    if steps < 1 or value <= quantiles[0]:
        return 0.0
    if value > quantiles[-1]:
        return 1.0
    upper = next(place for place, quantile in enumerate(quantiles) if quantile >= value)
    left, right = quantiles[upper - 1], quantiles[upper]
    return (upper - 1 + (value - left) / (right - left if right > left else 1)) / steps


def _row(population: Population, top: float, low: float, high: float) -> str:
    """One population's bars."""
    q05, q25, q50, q75, q95 = (_at(population.quantiles, level) for level in (0.05, 0.25, 0.5, 0.75, 0.95))
    middle = top + _BAR / 2
    tone = f"dfc-{population.tone}" if population.tone else "dfc-none"
    return (
        f'<g class="{tone}"><title>{escape(population.title)}</title>'
        f'<line class="whisker" x1="{_x(q05, low, high):.1f}" x2="{_x(q95, low, high):.1f}" y1="{middle}" '
        f'y2="{middle}"/><rect x="{_x(q25, low, high):.1f}" y="{top}" height="{_BAR}" rx="1.5" '
        f'width="{max(1.5, _x(q75, low, high) - _x(q25, low, high)):.1f}"/>'
        f'<line class="median" x1="{_x(q50, low, high):.1f}" x2="{_x(q50, low, high):.1f}" y1="{top - 1}" '
        f'y2="{top + _BAR + 1}"/></g>'
    )


def _at(quantiles: Sequence[float], level: float) -> float:
    return quantiles[round(level * (len(quantiles) - 1))]


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + _WIDTH * min(1.0, max(0.0, (value - low) / (high - low)))


def _words(value: float | None, populations: Sequence[Population]) -> str:
    """The drawing in words."""
    if value is None or not math.isfinite(value):
        return "no number for this feature"
    shares = (f"{share_below(value, p.quantiles):.0%} of {p.title}" for p in populations)
    return f"{value:.2f}: above {', '.join(shares)}"
