"""Words around the peaks of contexts, in the script they come in, and what they are counted beside; knows no torch."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dfc.config.characters import UNSPACED, is_unspaced

if TYPE_CHECKING:
    from dfc.corpus import Document

Ints = npt.NDArray[np.int64]

_UNIT = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’][^\W{UNSPACED}]+)*|([^\w\s])\1*")
_BEFORE, _AFTER = 120, 48  # characters
_UNITS_BEFORE, _UNITS_AFTER = 12, 4
WINDOW = _UNITS_BEFORE + 1 + _UNITS_AFTER  # units of a passage, about
_LONGEST_TOKEN = 6  # units of a script without spaces
_STEM = 6  # letters by which forms of a word are taken for one
_WORDS_IN_A_ROW, _CHARACTERS_IN_A_ROW = 4, 6

KINDS = ("token", "phrase")
Entry = tuple[int, str]
"""An index into KINDS, and what is counted: the stem of the word at a peak, or words around it as they are written."""


@dataclass(frozen=True)
class Stretch:
    """A piece of text around a peak; the peak's pair reaches from `begin` to `end` in it."""

    text: str
    begin: int
    end: int


@dataclass(frozen=True)
class Passage:
    """The units around a peak: words, single characters of scripts without spaces, signs.

    Attributes:
        text: what stands there.
        units: first character of each unit, and the one behind its last.
        peak: the units at the peak; empty where it is none.
    """

    text: str
    units: list[tuple[int, int]]
    peak: range

    def written(self, first: int, last: int) -> str:
        """What stands from one unit to another."""
        return self.text[self.units[first][0] : self.units[last][1]]


@dataclass(frozen=True)
class Words:
    """What stands at a peak and around it.

    Attributes:
        peak: the word at the peak, as it is written; empty where there is none.
        phrases: several words in a row, or another one, as they are written; each once, in their order.
    """

    peak: str
    phrases: tuple[str, ...]

    @property
    def entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is counted, by its kind, as `Entry` has them."""
        return ((stem(self.peak),) if self.peak else ()), self.phrases


@dataclass(frozen=True)
class Corpus:
    """What is read of the corpus.

    Attributes:
        features: feature of each stretch, increasing.
        stretches: around the peaks of top contexts.
        sample: evenly drawn texts.
        tested: feature of each of `tests`.
        tests: around peaks of other top contexts of these features.
        places: around evenly drawn pairs.
        owners: feature of each of `places`, beside which that feature's tests are not set; None: they are of none.
    """

    features: Ints
    stretches: list[Stretch]
    sample: list[str]
    tested: Ints
    tests: list[Stretch]
    places: list[Stretch]
    owners: Ints | None = None


def stretch(document: Document, begin: int, end: int) -> Stretch:
    """The text around a pair of tokens.

    Its content ends at character `end` of the document's content, that of the pair before it at `begin`. Only what one
    speaker says in a row is taken, and no word is cut.
    """
    ends = list(accumulate(len(turn.content) for turn in document.turns))
    turn = bisect_right(ends, end - 1)
    content = document.turns[turn].content
    origin = ends[turn] - len(content)
    begin, end = max(begin - origin, 0), end - origin
    low, high = max(0, end - _BEFORE), min(len(content), end + _AFTER)
    while 0 < low < begin and _joins(content, low):
        low += 1
    while end < high < len(content) and _joins(content, high):
        high -= 1
    return Stretch(content[low:high], max(begin - low, 0), end - low)


def passage(around: Stretch) -> Passage:
    """The units of a stretch nearest to its peak; a word is at the peak as a whole, whatever part of it the pair is."""
    spans = units(around.text)
    last = next((place for place, (first, stop) in enumerate(spans) if first < around.end <= stop), -1)
    if last < 0:
        return Passage(around.text, [], range(0))
    first = last
    while (
        first > max(0, last + 1 - _LONGEST_TOKEN)
        and spans[first - 1][0] >= around.begin
        and is_unspaced(around.text[spans[first - 1][0]])
        and is_unspaced(around.text[spans[last][0]])
    ):
        first -= 1
    low = max(0, first - _UNITS_BEFORE)
    return Passage(around.text, spans[low : last + 1 + _UNITS_AFTER], range(first - low, last + 1 - low))


def units(text: str) -> list[tuple[int, int]]:
    """First character of each unit of a text, and the one behind its last."""
    return [match.span() for match in _UNIT.finditer(text)]


@lru_cache(maxsize=1 << 15)  # features share peaks: where pairs are few, one has several
def words(around: Stretch) -> Words:
    """What is counted of a stretch."""
    there = passage(around)
    if not there.peak:
        return Words("", ())
    first, last = there.peak[0], there.peak[-1]
    text, spans = there.text, there.units
    word = [any(map(str.isalpha, text[start:end])) for start, end in spans]
    # Signs and numbers at either end say little, unless the peak is there.
    opens = [is_word or place == first for place, is_word in enumerate(word)]
    closes = [is_word or place == last for place, is_word in enumerate(word)]
    written = [
        text[spans[start][0] : spans[end][1]]
        for start, end in in_a_row(text, spans)
        if opens[start] and closes[end] and (start != first or end != last)
    ]
    once = dict.fromkeys(phrase for phrase in written if "\n" not in phrase)  # a set's order differs between processes
    return Words(there.written(first, last), tuple(once))


def in_a_row(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """First and last of units in a row: up to four words, up to six characters of a script without spaces, not one."""
    for start, (begin, _) in enumerate(spans):
        unspaced = is_unspaced(text[begin])
        longest = _CHARACTERS_IN_A_ROW if unspaced else _WORDS_IN_A_ROW
        for end in range(start + unspaced, min(start + longest, len(spans))):
            yield start, end


def stem(word: str) -> str:
    """What forms of a word have in common, roughly: a plural's s is taken off, and what follows the first letters."""
    folded = word.casefold()
    return folded.removesuffix("s")[:_STEM] if len(folded) > 3 else folded


def _joins(text: str, place: int) -> bool:
    """Whether a cut before this character would cut a word."""
    around = text[place - 1 : place + 1]
    return all((character.isalnum() or character == "_") and not is_unspaced(character) for character in around)
