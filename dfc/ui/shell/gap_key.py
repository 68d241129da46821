"""Which model expects a text better, token by token: how strongly it is coloured, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from dfc.report.palette import ramp
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import number

_LEAST = 0.5  # nats of the strongest colour, at least


def strongest(gaps: Iterable[float] | npt.NDArray[Any]) -> float:
    """Nats of the strongest colour: few are stronger."""
    sizes = np.abs(np.fromiter(gaps, np.float64))
    sizes = sizes[np.isfinite(sizes)]
    return max(_LEAST, float(np.quantile(sizes, 0.95)) if len(sizes) else 0.0)


def words(gap: float | None) -> str:
    """What a gap says of what ends at a pair; nothing where there is none."""
    if gap is None or not np.isfinite(gap):
        return ""
    return f"{'A' if gap > 0 else 'B'} expects better by {abs(gap):.2f} nats what ends here"


def key(view: View, top: float) -> str:
    """How to read the colours: B's to the left of no difference, A's to the right."""
    colours = (*reversed(ramp("b", view.theme)), *ramp("a", view.theme))
    return (
        f'<div class="dfc-key"><span>{escape(view.name("b"))}</span>{ramp_html(colours)}<span>'
        f"{escape(view.name('a'))} expects it better; strongest from {number(top)} nats; hover for figures</span>"
        "<span>· grey: no figure there</span></div>"
    )


def ramp_html(colours: Sequence[str]) -> str:
    """Colours side by side."""
    steps = "".join(f'<i style="background:{one}"></i>' for one in colours)
    return f'<span class="dfc-ramp">{steps}</span>'
