import math
import re
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dfc.report
from dfc.config import PARTITIONS, Partition
from dfc.report.heatmap import HEATMAP_CSS
from dfc.report.palette import LEVELS, THEMES, Theme, contrast, css_variables, heat_level, is_monotone, luminance, ramp

SMALL_TEXT, GRAPHICS = 4.5, 3.0  # WCAG AA

# Full dichromacy after Machado, Oliveira and Fernandes (2009), on linear RGB.
COLOUR_VISION = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_is_readable(theme: Theme) -> None:
    colours = THEMES[theme]
    assert contrast(colours.ink, colours.surface) >= 7
    assert min(contrast(colours.muted, ground) for ground in (colours.surface, colours.raised)) >= SMALL_TEXT
    for partition in PARTITIONS:
        hue = colours.hue(partition)
        assert min(contrast(hue.text, ground) for ground in (colours.surface, hue.tint)) >= SMALL_TEXT
        assert contrast(hue.mark, colours.surface) >= GRAPHICS
    for side in ("a", "b"):  # the letter on its disc
        assert contrast(colours.surface, colours.hue(side).mark) >= SMALL_TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("partition", PARTITIONS)
def test_heat_is_monotone_and_one_text_colour_reads_on_all_of_it(partition: Partition, theme: Theme) -> None:
    colours = ramp(partition, theme)
    assert len(colours) == LEVELS
    assert is_monotone((THEMES[theme].surface, *colours))
    assert colours[-1] == THEMES[theme].hue(partition).heat
    assert min(contrast(THEMES[theme].ink, colour) for colour in colours) >= SMALL_TEXT


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_partitions_stay_apart_for_every_colour_vision(vision: str, theme: Theme) -> None:
    seen = [_seen(THEMES[theme].hue(partition).mark, vision) for partition in PARTITIONS]
    assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > 0.15


def _seen(colour: str, vision: str) -> tuple[float, ...]:
    """sRGB, 0 to 1, of a colour as it is seen."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    mixed = [sum(weight * value for weight, value in zip(row, linear, strict=True)) for row in COLOUR_VISION[vision]]
    return tuple(min(1.0, max(0.0, value)) ** (1 / 2.2) for value in mixed)


def test_contrast_is_wcags() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert luminance("#808080") == pytest.approx(0.2158605, abs=1e-6)


@given(st.floats(allow_nan=True), st.floats(allow_nan=True))
def test_level_is_in_range_whatever_comes(activation: float, scale: float) -> None:
    assert 0 <= heat_level(activation, scale) <= LEVELS


@given(st.floats(1e-6, 1e6), st.floats(0, 1), st.floats(0, 1))
def test_level_grows_with_the_activation(scale: float, one: float, other: float) -> None:
    less, more = sorted((one * scale, other * scale))
    assert heat_level(less, scale) <= heat_level(more, scale)
    assert heat_level(scale, scale) == LEVELS


def test_nothing_has_no_level() -> None:
    assert heat_level(None, 1.0) == heat_level(0.0, 1.0) == heat_level(1.0, 0.0) == 0
    assert heat_level(1e-9, 1.0) == 1


@pytest.mark.parametrize("theme", THEMES)
def test_every_variable_in_use_is_declared(theme: Theme) -> None:
    template = (Path(dfc.report.__file__).parent / "card.html").read_text(encoding="utf-8")
    used = set(re.findall(r"var\((--dfc-[a-z0-9-]+)\)", HEATMAP_CSS + template))
    declared = set(re.findall(r"(--dfc-[a-z0-9-]+):#[0-9a-f]{6};", css_variables(theme)))
    assert len(used) > 3 * LEVELS
    assert used <= declared
