"""A feature's number on the spread of the same measure over other features, as a small drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from dfc.config import Partition
from dfc.report.words import numeral

STRIP_CSS = """
.dfc-spread { display: flex; flex-direction: column; gap: 3px; position: relative; padding: 2px 0; }
.dfc-spread .dfc-none { --dfc-tone: var(--dfc-muted); }
.dfc-spread .row { display: block; position: relative; height: 8px; }
.dfc-spread .row i, .dfc-spread .row b, .dfc-spread .row u, .dfc-spread .own { position: absolute; display: block; }
.dfc-spread .row i { top: 3.5px; height: 1px; background: var(--dfc-tone); }
.dfc-spread .row b { top: 0; height: 8px; border-radius: 2px; background: var(--dfc-tone); opacity: .5; }
.dfc-spread .row u { top: -1px; height: 10px; width: 2px; margin-left: -1px; background: var(--dfc-tone); }
.dfc-spread .own { top: -1px; bottom: -1px; width: 2px; margin-left: -1px; background: var(--dfc-ink); }
.dfc-spread .limit { position: absolute; top: -2px; bottom: -2px; border-left: 1.5px dashed var(--dfc-muted); }
.dfc-spread .beyond { position: absolute; top: 50%; transform: translateY(-50%); font-size: 11px; line-height: 1;
  color: var(--dfc-ink); background: var(--dfc-surface); }
.dfc-ends { display: flex; justify-content: space-between; font-size: 10.5px; line-height: 1.2;
  color: var(--dfc-muted); }
.dfc-strip-key { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12px; color: var(--dfc-muted); }
.dfc-strip-key i { display: inline-block; width: 14px; height: 8px; border-radius: 2px; margin-right: 5px; opacity: .6;
  background: var(--dfc-tone, var(--dfc-muted)); }
.dfc-strip-key .own { width: 2px; height: 12px; vertical-align: -2px; opacity: 1; background: var(--dfc-ink); }
.dfc-strip-key .limit { width: 0; height: 12px; vertical-align: -2px; opacity: 1; background: none;
  border-left: 1.5px dashed var(--dfc-muted); }
"""
"""Style of `strip`; the colours come from `palette.css_variables(theme)`, --dfc-tone from the partition's class."""


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


def strip(
    value: float | None,
    populations: Sequence[Population],
    low: float = 0.0,
    high: float = 1.0,
    limits: Sequence[float] = (),
) -> str:
    """HTML: for each population a line over its middle 90 %, a bar over its middle half and a notch at its median, and
    through all of them a line at the feature's own number; under them the ends of the axis.

    Args:
        value: the feature's; no line where there is none.
        populations: drawn one under the other; those without quantiles are left out.
        low, high: ends of the axis; what lies beyond is drawn at the end, with an arrow there.
        limits: what the rule holds the number to, drawn as broken lines.
    """
    known = [population for population in populations if len(population.quantiles)]
    if not known:
        return ""
    rows = "".join(_row(population, low, high) for population in known)
    line = ""
    if value is not None and math.isfinite(value):
        line = f'<span class="own" style="left:{_x(value, low, high):.1f}%"></span>'
    broken = "".join(f'<span class="limit" style="left:{_x(limit, low, high):.1f}%"></span>' for limit in limits)
    drawn = [] if value is None else [value]
    drawn += [_at(population.quantiles, level) for population in known for level in (0.05, 0.95)]
    arrows = '<span class="beyond" style="left:0" title="some lie below the axis">‹</span>' * (min(drawn) < low)
    arrows += '<span class="beyond" style="right:0" title="some lie above the axis">›</span>' * (max(drawn) > high)
    ends = f'<span class="dfc-ends"><span>{_end(low)}</span><span>{_end(high)}</span></span>'
    words = escape(_words(value, known))
    return f'<span class="dfc-spread" title="{words}">{rows}{broken}{line}{arrows}</span>{ends}'


def key(populations: Sequence[Population]) -> str:
    """What `strip` draws, as HTML: the feature's number, each population, and what the rule asks."""
    shown = "".join(
        f'<span><i class="{_tone(population)}"></i>{escape(population.title)}</span>' for population in populations
    )
    return (
        f'<div class="dfc-strip-key"><span><i class="own"></i>this feature</span>{shown}'
        '<span><i class="limit"></i>the rule\'s limits</span><span>‹ › beyond the axis</span></div>'
    )


def position(value: float | None, populations: Sequence[Population]) -> str:
    """Where a number stands among others, in words: `above 3 % of shared features, 12 % of the null run`."""
    if value is None or not math.isfinite(value):
        return ""
    shares = [f"{share_below(value, p.quantiles):.0%} of {p.title}" for p in populations if len(p.quantiles)]
    return f"above {', '.join(shares)}" if shares else ""


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


def _row(population: Population, low: float, high: float) -> str:
    """One population's bars."""
    q05, q25, q50, q75, q95 = (
        _x(_at(population.quantiles, level), low, high) for level in (0.05, 0.25, 0.5, 0.75, 0.95)
    )
    return (
        f'<span class="row {_tone(population)}"><i style="left:{q05:.1f}%;width:{q95 - q05:.1f}%"></i>'
        f'<b style="left:{q25:.1f}%;width:{max(0.8, q75 - q25):.1f}%"></b><u style="left:{q50:.1f}%"></u></span>'
    )


def _tone(population: Population) -> str:
    return f"dfc-{population.tone}" if population.tone else "dfc-none"


def _end(value: float) -> str:
    """An end of the axis, as it is written."""
    return numeral(value, "g")


def _at(quantiles: Sequence[float], level: float) -> float:
    return quantiles[round(level * (len(quantiles) - 1))]


def _x(value: float, low: float, high: float) -> float:
    """Where a value lies on the axis, in percent."""
    return 100 * min(1.0, max(0.0, (value - low) / (high - low)))


def _words(value: float | None, populations: Sequence[Population]) -> str:
    """The drawing in words."""
    where = position(value, populations)
    return f"{value:.2f}: {where}" if where else "no number for this feature"
