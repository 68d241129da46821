"""Numbers and names as people read them, and text from stores made harmless."""

from __future__ import annotations

import html
import logging
import math
import re
import unicodedata
from bisect import bisect_right
from itertools import accumulate

from dfc.config import UserError
from dfc.machine import memory
from dfc.report.heatmap import label, visible
from dfc.report.words import capital, numeral
from dfc.store.query import whole_words

_log = logging.getLogger(__name__)

STAGE_TITLES = {
    "pair": "Texts paired",
    "harvest": "Activations collected",
    "train": "Dictionary trained",
    "encode": "Texts encoded",
    "index": "Features described",
    "verify": "Surprise measured",
}


def one_in(share: float) -> str:
    """A share as a frequency, e.g. `1 in 2,300`."""
    if share <= 0:
        return "never"
    if share >= 0.5:
        return "more often than not"
    return f"1 in {round(1 / share):,}"


def number(value: float | None, decimals: int = 2) -> str:
    """A number with separators, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return numeral(value, f",.{decimals}f")


def count(value: float | None) -> str:
    """A whole number with separators; large ones in thousands or millions."""
    if value is None:
        return "–"
    if value >= 10_000_000:
        return f"{value / 1e6:,.0f} M"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """So many seconds, minutes or hours, as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"


def chips(tokens: list[str]) -> str:
    """Tokens as a row of HTML chips, escaped."""
    return "".join(f'<span class="dfc-chip">{html.escape(label(token[:40]))}</span>' for token in tokens)


def around(text: str, words: str, before: int = 6, after: int = 30) -> str:
    """A text, cut to a stretch with the words in it, whole ones if it has them, whatever their case; nothing in it is
    hidden. `before` and `after` are columns; a Chinese character takes two."""
    whole = re.search(whole_words(words, r"\w"), text)
    place = whole.start(1) if whole else max(0, text.lower().find(words.lower()))
    end = place + len(words)
    start, stop = place - _fitting(text[:place][::-1], before), end + _fitting(text[end:], after)
    return f"{'…' if start else ''}{visible(text[start:stop])}{'…' if stop < len(text) else ''}"


def _fitting(text: str, columns: int) -> int:
    """How many of a text's first characters fit into so many columns."""
    ends = accumulate(2 if unicodedata.east_asian_width(mark) in "WF" else 1 for mark in text[: columns + 1])
    return bisect_right(list(ends), columns)


def plain(text: str) -> str:
    """Text for a place that reads Markdown: every mark is escaped."""
    return "".join(f"\\{mark}" if mark in "\\`*_{}[]()<>#+-.!|~$:^=&" else mark for mark in " ".join(text.split()))


def sentence(text: str) -> str:
    """A message with a capital letter, unless it begins with a path or a name."""
    return capital(text) if text.split(" ")[0].isalpha() else text


def failure(error: Exception, otherwise: str) -> str:
    """What went wrong in work that the page only looks at, as one sentence.

    What the user can mend says so itself. Anything else follows `otherwise`, by its name, and is in the log in full.
    """
    if isinstance(error, UserError):
        return sentence(str(error))
    if memory.is_out_of_memory(error):
        return f"{otherwise}: there is no memory for it. Ask for less at once, or close other programs."
    _log.error(otherwise, exc_info=error)
    return f"{otherwise}: {type(error).__name__}: {error}"
