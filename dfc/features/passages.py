"""Words around the peaks of the top contexts, in the script they come in, and a sample of the corpus beside them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config.characters import UNSPACED, is_unspaced
from dfc.corpus import Document
from dfc.features.codes import Ints
from dfc.machine import progress

_UNIT = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+(?:['’][^\W{UNSPACED}]+)*|([^\w\s])\1*")
_BEFORE, _AFTER = 120, 48  # characters
_UNITS_BEFORE, _UNITS_AFTER = 12, 4
WINDOW = _UNITS_BEFORE + 1 + _UNITS_AFTER  # units of a passage, about
_LONGEST_TOKEN = 6  # units of a script without spaces


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
class Corpus:
    """What is read of the corpus.

    Attributes:
        features: feature of each stretch, increasing.
        stretches: around the peaks of the top contexts.
        sample: evenly drawn texts.
    """

    features: Ints
    stretches: list[Stretch]
    sample: list[str]


def read(features: Ints, rows: Ints, store: ActivationStore, documents: pa.Table, characters: int) -> Corpus:
    """Stretches around peaks, and a sample of what the pairs cover.

    Args:
        features: of each peak.
        rows: global row of each peak, increasing.
        store, documents: where they come from.
        characters: how many to draw for the sample, about.
    """
    stretches: list[Stretch] = []
    sample: list[str] = []
    share = min(1.0, characters / max(1, _characters(documents)))
    due = 0.0
    shard_of = rows >> 32
    with progress.bar("features: words", len(rows), "contexts") as bar:
        for shard in range(len(store)):
            origin = store.rows(shard)
            numbers, first = np.unique(origin.document, return_index=True)
            last = np.append(first[1:], len(origin)) - 1
            for number, end in zip(numbers.tolist(), origin.end[last].tolist(), strict=True):
                due += share
                if due >= 1:
                    due -= 1
                    sample.append("".join(turn.content for turn in stored.document(documents, number).turns)[:end])
            start, stop = np.searchsorted(shard_of, [shard, shard + 1]).tolist()
            at = rows[start:stop] & 0xFFFFFFFF
            before = np.maximum(at - 1, 0)
            same = (at > 0) & (origin.document[before] == origin.document[at])
            begins = np.where(same, origin.end[before], 0)
            cached: dict[int, Document] = {}
            for number, begin, end in zip(
                origin.document[at].tolist(), begins.tolist(), origin.end[at].tolist(), strict=True
            ):
                if number not in cached:
                    cached[number] = stored.document(documents, number)
                stretches.append(stretch(cached[number], begin, end))
            bar.update(stop - start)
    order = np.argsort(features, kind="stable")
    return Corpus(features[order], [stretches[place] for place in order.tolist()], sample)


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


def _joins(text: str, place: int) -> bool:
    """Whether a cut before this character would cut a word."""
    around = text[place - 1 : place + 1]
    return all((character.isalnum() or character == "_") and not is_unspaced(character) for character in around)


def _characters(documents: pa.Table) -> int:
    contents = documents["contents"].combine_chunks().flatten()
    return int(pc.sum(pc.utf8_length(contents)).as_py() or 0)
