"""The one visual language for model A, model B and what they share.

Blue and vermilion are Okabe and Ito's, who chose them to stay apart for every kind of
colour vision; what is shared is a neutral green-grey, so that the exclusive stands out.
Heat ramps keep one text colour readable on every level, so that text never flips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from dfc.config import PARTITIONS, Partition, Verdict

Theme = Literal["light", "dark"]
LEVELS = 10
"""Steps of a heat ramp; level 0 is no colour at all."""


@dataclass(frozen=True)
class Hue:
    """The colours of one partition in one theme, as #rrggbb."""

    mark: str
    """Bars, dots, badges: what is drawn."""
    text: str
    """Words in that colour, readable on the surface and on the tint."""
    tint: str
    """A pale background."""
    heat: str
    """The strongest level of the heat ramp."""


@dataclass(frozen=True)
class Colours:
    """Every colour of one theme, as #rrggbb."""

    surface: str
    raised: str
    """A panel on the surface."""
    line: str
    ink: str
    muted: str
    """Secondary text."""
    a: Hue
    b: Hue
    shared: Hue

    def hue(self, partition: Partition) -> Hue:
        """The colours of a partition, or of a model's side."""
        return {"a": self.a, "b": self.b, "shared": self.shared}[partition]


THEMES: dict[Theme, Colours] = {
    "light": Colours(
        surface="#ffffff",
        raised="#f5f7f8",
        line="#dfe4e7",
        ink="#15191d",
        muted="#58636b",
        a=Hue(mark="#0072b2", text="#00598b", tint="#e3f0f9", heat="#4faae6"),
        b=Hue(mark="#c25500", text="#9c4400", tint="#fdece1", heat="#f58f4a"),
        shared=Hue(mark="#83958d", text="#4a5a53", tint="#eaf0ed", heat="#86b7a2"),
    ),
    "dark": Colours(
        surface="#12161a",
        raised="#1b2126",
        line="#303940",
        ink="#eef2f4",
        muted="#a0acb4",
        a=Hue(mark="#56b4e9", text="#8fcdf3", tint="#14303f", heat="#0769a3"),
        b=Hue(mark="#f0883e", text="#ffb384", tint="#3f2514", heat="#b04f06"),
        shared=Hue(mark="#8fa199", text="#b7c6bf", tint="#26302c", heat="#3d7560"),
    ),
}


# Verdicts stand beside one another in charts: purple, and what remains apart from it for every kind of colour vision.
_VERDICT_MARKS: dict[Theme, dict[Verdict, str]] = {
    "light": {
        "exclusive": "#7b3294",
        "mirrored": "#d7842c",
        "shared-like": "#3a9d86",
        "unclear": "#a9b3b9",
        "dead": "#dfe4e7",
    },
    "dark": {
        "exclusive": "#c79ae0",
        "mirrored": "#e0a05a",
        "shared-like": "#54bfa5",
        "unclear": "#5f6c75",
        "dead": "#303940",
    },
}


def verdict_marks(theme: Theme = "light") -> dict[Verdict, str]:
    """The colour of each verdict in charts, as #rrggbb."""
    return dict(_VERDICT_MARKS[theme])


# Runs stand beside one another, too: told apart for every kind of colour vision, and none the colour of a model.
_RUN_MARKS: dict[Theme, tuple[str, ...]] = {
    "light": ("#7b3294", "#178a6b", "#b07d00", "#c4568f", "#4d5b64", "#4f9dc0"),
    "dark": ("#c79ae0", "#4fc7a1", "#e3b64a", "#ec8fbd", "#b9c4cb", "#7cc4e2"),
}


def run_marks(theme: Theme = "light") -> tuple[str, ...]:
    """Colours for runs in the same chart, as #rrggbb; from the seventh on they begin again."""
    return _RUN_MARKS[theme]


def ramp(partition: Partition, theme: Theme = "light") -> tuple[str, ...]:
    """The heat ramp of a partition: LEVELS colours from barely tinted to strongest, even to the eye."""
    colours = THEMES[theme]
    start, end = _oklab(colours.surface), _oklab(colours.hue(partition).heat)
    shares = [0.1 + 0.9 * level / (LEVELS - 1) for level in range(LEVELS)]  # the first level is seen, too
    return tuple(_hex([x + share * (y - x) for x, y in zip(start, end, strict=True)]) for share in shares)


def heat_level(activation: float | None, scale: float) -> int:
    """The level of an activation on a ramp whose top is `scale`: 0 for none or zero, else 1 to LEVELS.

    A scale of 0, as a dead feature has, gives 0.
    """
    if activation is None or not activation > 0 or not scale > 0:
        return 0
    return max(1, math.ceil(min(1.0, activation / scale) * LEVELS))


def css_variables(theme: Theme = "light") -> str:
    """Declarations of every colour as a CSS variable: --dfc-ink, --dfc-a-mark, --dfc-a-1 and so on."""
    colours = THEMES[theme]
    values = {name: getattr(colours, name) for name in ("surface", "raised", "line", "ink", "muted")}
    for partition in PARTITIONS:
        hue = colours.hue(partition)
        values |= {f"{partition}-mark": hue.mark, f"{partition}-text": hue.text, f"{partition}-tint": hue.tint}
        values |= {f"{partition}-{level}": colour for level, colour in enumerate(ramp(partition, theme), start=1)}
    return "".join(f"--dfc-{name}:{value};" for name, value in values.items())


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb after WCAG, 0 to 1."""
    red, green, blue = _linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours after WCAG, 1 to 21; text wants 4.5."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def is_monotone(colours: tuple[str, ...]) -> bool:
    """Whether luminance only falls or only rises along the colours."""
    steps = [luminance(after) - luminance(before) for before, after in pairwise(colours)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _linear(colour: str) -> tuple[float, float, float]:
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return red, green, blue


def _oklab(colour: str) -> tuple[float, float, float]:
    """OKLab of #rrggbb (Ottosson 2020): mixing there keeps hue and even steps."""
    r, g, b = _linear(colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _hex(oklab: list[float]) -> str:
    lightness, a, b = oklab
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    values = [12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in (max(0.0, v) for v in linear)]
    return "#" + "".join(f"{min(255, round(255 * value)):02x}" for value in values)
