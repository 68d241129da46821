"""A line chart as SVG, for documents: no browser, no fonts of its own."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 44, 52
_TICKS = 5


@dataclass(frozen=True)
class Line:
    """A named series of points, from left to right."""

    name: str
    colour: str
    x: list[float]
    y: list[float]


def line_chart(lines: list[Line], across: str, up: str) -> str:
    """Lines over a common x axis; the y axis begins at 0.

    Args:
        lines: at least one, each with at least one point.
        across, up: titles of the axes.
    """
    left, right = min(min(line.x) for line in lines), max(max(line.x) for line in lines)
    top = max(max(line.y) for line in lines) or 1.0
    span = (right - left) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + (x - left) / span * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    for tick in range(_TICKS + 1):
        _, y = place(left, top * tick / _TICKS)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#e0e3e6"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{top * tick / _TICKS:.2f}", "end"))
    for x in sorted({x for line in lines for x in line.x}):
        parts.append(_text(place(x, 0)[0], _HEIGHT - _BOTTOM + 18, f"{x:g}", "middle"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 12, across, "middle"))
    parts.append(f'<g transform="translate(16 {_HEIGHT / 2:.0f}) rotate(-90)">{_text(0, 0, up, "middle")}</g>')
    for number, line in enumerate(lines):
        points = [place(x, y) for x, y in zip(line.x, line.y, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}"/>' for x, y in points]
        at = _LEFT + number * (_WIDTH - _LEFT - _RIGHT) / len(lines)
        parts.append(f'<rect x="{at:.0f}" y="16" width="14" height="4" fill="{line.colour}"/>')
        parts.append(_text(at + 20, 22, line.name, "start"))
    return "\n".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#2b3036">{escape(text)}</text>'
