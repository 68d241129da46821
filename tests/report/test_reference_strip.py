from __future__ import annotations

import pytest

from dfc.report.reference_strip import Population, share_below, strip

EVEN = [place / 100 for place in range(101)]


@pytest.mark.parametrize(
    ("value", "share"), [(-1.0, 0.0), (0.0, 0.0), (0.25, 0.25), (0.255, 0.255), (1.0, 1.0), (2.0, 1.0)]
)
def test_share_below_even_quantiles(value: float, share: float) -> None:
    assert share_below(value, EVEN) == pytest.approx(share)


def test_share_below_ties_counts_none_of_them() -> None:
    assert share_below(0.5, [0.0, 0.5, 0.5, 0.5, 1.0]) == pytest.approx(0.25)


def test_strip_says_in_words_what_it_draws() -> None:
    drawn = strip(0.3, [Population("shared <features>", "shared", EVEN), Population("the null run", None, [])])
    assert "0.30: above 30% of shared &lt;features&gt;" in drawn
    assert drawn.count("<b ") == 1
    assert 'class="own" style="left:30.0%"' in drawn


def test_strip_without_a_number_has_no_line_and_without_populations_is_nothing() -> None:
    assert 'class="own"' not in strip(None, [Population("shared", "shared", EVEN)])
    assert strip(0.3, []) == ""


def test_strip_shows_limits_ends_and_what_lies_beyond() -> None:
    drawn = strip(0.3, [Population("shared", "shared", EVEN)], -0.5, 1.0, limits=(0.25,))
    assert 'class="limit" style="left:50.0%"' in drawn
    assert "<span>−0.5</span><span>1</span>" in drawn
    assert "beyond" not in drawn
    assert "some lie above the axis" in strip(1.2, [Population("shared", "shared", EVEN)])
    below = strip(0.3, [Population("shared", "shared", [value - 0.2 for value in EVEN])])
    assert "some lie below the axis" in below
    assert "above the axis" not in below
